"""The registry of instances and sessions: in Valkey for a cluster, in memory for an instance that is alone.

One Protocol, `base.Registry`, for both. Knows `cluster` and nothing above.
"""
