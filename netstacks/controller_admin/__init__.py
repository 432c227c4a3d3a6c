"""The pages of administration as a process of their own: without state, it calls the API of a controller over HTTP.

It has no secret, no database and no registry. A user logs in at the controller, through it, and every call is made with
the user's own log-in.
"""
