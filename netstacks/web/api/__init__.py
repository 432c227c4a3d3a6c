"""JSON resources of the API: what clients send is validated here, and what the rooms below return is told as JSON.

Each module is one family of resources with its own blueprint; nothing below the web knows of it.
"""
