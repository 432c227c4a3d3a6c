"""Recordings of sessions: events gathered, masked, packed into chained chunks, stored, spooled, read and removed.

Stands on `store`; knows no terminal.
"""
