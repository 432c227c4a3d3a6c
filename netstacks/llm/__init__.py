"""Language models: requests to providers with failover, circuit breakers shared by the cluster, and redaction.

Knows HTTP, `store` and `registry`; knows nothing of Flask or terminals.
"""
