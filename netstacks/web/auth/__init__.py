"""Authentication and authorisation: tokens, cookies, log-ins, permissions, licence seats.

Depends on `AuthParts` only, not on the services of the application.
"""
