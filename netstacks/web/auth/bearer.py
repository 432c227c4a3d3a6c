"""The bearer token of a request."""

from werkzeug.wrappers import Request


def token_of(wsgi_request: Request) -> str | None:
    """The token in the header Authorization, or under /ws/, where browsers send no such header, in the query."""
    scheme, _, token = wsgi_request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if wsgi_request.path.startswith("/ws/"):
        return wsgi_request.args.get("token")
    return None
