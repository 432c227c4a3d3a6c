"""The rules of a cluster: who lives, who owns, who waits, in which order. Pure: no I/O, and time is an argument.

Knows nothing of the rest of the program.
"""
