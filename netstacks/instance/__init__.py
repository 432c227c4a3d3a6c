"""One instance at work: heartbeat, broker, claims, opener, reconciler, health. It brings the layers below together.

Knows nothing of Flask.
"""
