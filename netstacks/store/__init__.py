"""Persistence in PostgreSQL: one module for each kind of row, SQL in files, transactions with a time limit.

Uses `cluster` and `crypto`. Raises the errors of `netstacks.errors`, never those of the driver.
"""
