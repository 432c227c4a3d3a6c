"""Cryptography and what it is about: password hashes and rules, SSH keys, licences, the sealing of secrets.

Stores nothing; what it makes is stored by `store`.
"""
