"""The rules of a cluster: liveness, ownership, routing, admission. Pure functions: no I/O, time is an argument.

Does not know the rest of the program.
"""
