"""The logic of one instance: heartbeat, broker, claims, opener, reconciler, health.

Combines the layers below; independent of Flask.
"""
