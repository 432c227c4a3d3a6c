"""The JSON API: validates requests, calls the packages below, and returns their results as JSON.

Each module with a blueprint serves one family of resources.
"""
