"""Who makes a request and what that user may do: tokens, cookies, log-ins, licence seats.

Stands on its own `AuthParts`, not on the services of the application.
"""
