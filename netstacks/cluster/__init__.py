"""The rules of a cluster: liveness, ownership, routing, admission. Pure functions: no I/O, time is an argument.

Imports nothing of the rest of the program but its errors.
"""
