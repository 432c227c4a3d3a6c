"""Language models: requests to providers with failover, circuit breakers shared by the cluster, and redaction.

Uses HTTP, `store` and `registry`; independent of Flask and terminals.
"""
