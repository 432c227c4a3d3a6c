"""What is kept in PostgreSQL: SQL in files, one module for each kind of row, transactions with a time limit.

Knows `cluster` and `crypto`; raises our errors, never those of the driver.
"""
