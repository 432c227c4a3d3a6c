"""Communication between instances: signed tokens, the client of private listeners, the splice of two sockets.

Independent of sessions.
"""
