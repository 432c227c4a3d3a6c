"""Cookies, with names that no other site can set where the request uses https.

Browsers accept a cookie whose name begins with `__Host-` over https only, for this host and all paths: a sibling domain
cannot overwrite it (RFC 6265bis, 4.1.3.2). This instance knows that a request uses https when it, or a trusted proxy,
has terminated TLS.
"""

from flask import Response, request
from werkzeug.wrappers import Request

_PREFIX = "__Host-"
# The limit of values to try: invalid ones may come first.
_MAX_VALUES = 16


def values(wsgi_request: Request, name: str) -> list[str]:
    """The values of the cookies of this name, in the order in which to try them.

    Over https a cookie without the prefix is ignored: a sibling domain may have set it. Over http both count: a proxy
    that is not trusted may have terminated TLS.
    """
    plain = [] if wsgi_request.is_secure else wsgi_request.cookies.getlist(name)
    return [*wsgi_request.cookies.getlist(_PREFIX + name), *plain][:_MAX_VALUES]


def put(response: Response, name: str, value: str, *, max_age_secs: float) -> None:
    """Sets a cookie for this host: HttpOnly, SameSite=Lax."""
    response.set_cookie(
        _PREFIX + name if request.is_secure else name,
        value,
        max_age=int(max_age_secs),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


def delete(response: Response, name: str) -> None:
    """Deletes the cookies of this name that the request has sent."""
    for each in (_PREFIX + name, name):
        if each in request.cookies:
            response.delete_cookie(each, secure=each.startswith(_PREFIX), httponly=True, samesite="Lax")
