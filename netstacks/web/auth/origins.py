"""The header Origin: pages of other sites may not use the log-in of a user of this one."""

from flask import request
from werkzeug.wrappers import Request

from netstacks import urls
from netstacks.errors import Forbidden
from netstacks.web.auth import bearer, page_cookie
from netstacks.web.auth.parts import AuthParts, auth_parts
from netstacks.web.http import once, proxies


def check() -> None:
    """Raises Forbidden when a web page of another origin makes this request.

    The header Origin must match the host and port of this site, as a trusted proxy forwards them, or one of
    ALLOWED_ORIGINS. Programs other than browsers send no Origin: that is accepted with a bearer token, never with the
    cookie.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        if page_cookie.is_sent() and bearer.token_of(request) is None:
            raise Forbidden("A request with the page cookie needs the header Origin.")
    elif reason := problem():
        once.warn("origin.refused", origin, request.host, problem=reason)
        raise Forbidden(reason)


def problem() -> str | None:
    """Why the header Origin of this request is not accepted; None without the header, or when it is accepted."""
    origin = request.headers.get("Origin")
    if origin is None or is_own(origin, request, auth_parts()):
        return None
    return (
        f"The origin {origin} is not the origin of this site, which was requested as {request.host}. If {origin} is the"
        " address that users open, the load balancer does not pass the header Host on: it must pass it on unchanged, or"
        " send X-Forwarded-Host and X-Forwarded-Proto from an address in TRUSTED_PROXIES. If it is another site,"
        " ALLOWED_ORIGINS must name it."
    )


def is_own(origin: str, wsgi_request: Request, parts: AuthParts) -> bool:
    """Whether it is the origin of this site, or one of ALLOWED_ORIGINS."""
    return origin in parts.allowed_origins or any(
        urls.is_same_origin(origin, wsgi_request.scheme, host) for host in proxies.hosts(wsgi_request.environ)
    )
