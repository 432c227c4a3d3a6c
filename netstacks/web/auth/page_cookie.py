"""The cookie that logs the user of our pages in: read from a request, renewed while it is used, and taken away.

The cookie is SameSite=Lax, not Strict: a link to a session, followed from a ticket or a mail, must find its reader
logged in. What Lax would let through (nothing but top-level GETs) changes nothing, and every request that does
change something by the cookie must also name our own origin and carry the CSRF token.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

from flask import Response, g, request
from werkzeug.wrappers import Request

from netstacks.store import logins
from netstacks.web.auth.parts import AuthParts, auth_parts
from netstacks.web.auth.tokens import Claims, Subject, TokenType
from netstacks.web.http import cookies

COOKIE = "netstacks_page"
# A cookie this much older than new is replaced by a new one.
_RENEW_AFTER_SECS = 600


def is_sent() -> bool:
    """Whether this request comes from a browser in which somebody was logged in, or still is."""
    return bool(cookies.values(request, COOKIE))


def claims(asked: Request, parts: AuthParts) -> Iterator[Claims]:
    """What the cookies that verify say. Several may be sent: a sibling of our domain can set one by this name."""
    for value in cookies.values(asked, COOKIE):
        if read := parts.tokens.read(TokenType.PAGE, value):
            yield read


def give(subject: Subject) -> None:
    """Has the answer to this request set the cookie."""
    g.page_cookie = subject


def renew(used: Claims, role: str) -> None:
    """Has the answer set a new cookie where the one that was used is no longer new."""
    if used.expires_at - time.time() < logins.PAGE_TTL.total_seconds() - _RENEW_AFTER_SECS:
        give(replace(used.subject, role=role))


def take_away() -> None:
    """Has the answer delete the cookie."""
    g.page_cookie = None


def put(response: Response) -> Response:
    """After each request: does what was asked for."""
    if "page_cookie" not in g:
        return response
    subject: Subject | None = g.page_cookie
    if subject is None:
        cookies.take_away(response, COOKIE)
    else:
        value = auth_parts().tokens.issue(TokenType.PAGE, subject)
        cookies.put(response, COOKIE, value, max_age_secs=logins.PAGE_TTL.total_seconds())
    return response
