"""Terminals: the SSH connection, the session with its output log, the attachments that read from it, the screen.

Knows nothing of HTTP, of peers or of the registry.
"""
