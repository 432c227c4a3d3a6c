"""Recordings of sessions: events are masked, packed into chained chunks, stored or spooled, read and removed.

Uses `store`; independent of terminals.
"""
