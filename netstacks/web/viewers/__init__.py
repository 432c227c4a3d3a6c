"""Viewers of a shared session, at the instance they came to and at the owner."""
