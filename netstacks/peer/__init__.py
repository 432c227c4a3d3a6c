"""What instances say to each other: signed tokens, the client for the private listener, the splice of two sockets.

Knows nothing of sessions.
"""
