"""Cookies, by names that no other site can set where TLS allows it.

A browser takes a cookie whose name begins with `__Host-` by https alone, for this very host and every path: a sibling
of our domain cannot put one of its own in its place. Whether a request came by https is known where this instance, or a
proxy that it trusts, ended TLS.
"""

from flask import Response, request
from werkzeug.wrappers import Request

_PREFIX = "__Host-"
# Some that are no good may come first.
_MOST_VALUES = 16


def values(asked: Request, name: str) -> list[str]:
    """What the cookies of this name hold, in the order in which they are to be tried.

    By https a cookie without the prefix counts for nothing: a sibling of our domain may have set it. By http both
    count, since a proxy that is not trusted may have ended TLS.
    """
    plain = [] if asked.is_secure else asked.cookies.getlist(name)
    return [*asked.cookies.getlist(_PREFIX + name), *plain][:_MOST_VALUES]


def put(response: Response, name: str, value: str, *, max_age_secs: float) -> None:
    """Sets a cookie for this host, out of reach of scripts and of what foreign pages change."""
    response.set_cookie(
        _PREFIX + name if request.is_secure else name,
        value,
        max_age=int(max_age_secs),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


def take_away(response: Response, name: str) -> None:
    """Deletes what the request has sent by this name."""
    for each in (_PREFIX + name, name):
        if each in request.cookies:
            response.delete_cookie(each, secure=each.startswith(_PREFIX), httponly=True, samesite="Lax")
