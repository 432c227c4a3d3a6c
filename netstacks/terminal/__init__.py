"""Terminals: the SSH connection, the session with its output log, the attachments that read from it, the screen.

Independent of HTTP, peers and the registry.
"""
