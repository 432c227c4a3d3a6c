"""The registry of instances and session locations: in Valkey for a cluster, in memory for a single instance.

One protocol, `base.Registry`, for both. Uses only `cluster`, `greenlets`, `errors` and `urls`.
"""
