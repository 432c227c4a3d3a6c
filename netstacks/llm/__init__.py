"""Language models: the providers, what is asked of them, and how the cluster leaves the failing ones alone.

It knows HTTP, the shared circuits and the rules of redaction; it knows nothing of Flask and of terminals.
"""
