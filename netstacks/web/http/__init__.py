"""Helpers for requests and responses: input validation, output formats, cookies, CSP, trusted proxies."""
