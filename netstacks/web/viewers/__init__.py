"""Viewers of shared sessions: their connections, and their views at the session's owner."""
