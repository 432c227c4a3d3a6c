"""Cryptography: password hashes and rules, SSH private keys, licences, and the encryption of secrets.

Without storage: the package `store` stores the results.
"""
