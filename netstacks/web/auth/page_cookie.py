"""The log-in cookie of our pages: read, renewed while it is used, and deleted.

The cookie is SameSite=Lax, not Strict: a user who follows a link to a session from a ticket or a mail must be logged
in. Lax lets top-level GETs through, which change nothing. A request that changes something by the cookie must also have
our own origin and the CSRF token.
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
# A cookie older than this is renewed.
_RENEW_AFTER_SECS = 600


def is_sent() -> bool:
    """Whether this request has the cookie, valid or not."""
    return bool(cookies.values(request, COOKIE))


def claims(wsgi_request: Request, parts: AuthParts) -> Iterator[Claims]:
    """The claims of the valid cookies. A browser may send several: a sibling domain can set one with this name."""
    for value in cookies.values(wsgi_request, COOKIE):
        if read := parts.tokens.read(TokenType.PAGE, value):
            yield read


def issue(subject: Subject) -> None:
    """Makes the response to this request set the cookie."""
    g.page_cookie = subject


def renew(used: Claims, role: str) -> None:
    """Makes the response set a new cookie if the used one is older than _RENEW_AFTER_SECS."""
    if used.expires_at - time.time() < logins.PAGE_TTL.total_seconds() - _RENEW_AFTER_SECS:
        issue(replace(used.subject, role=role))


def delete() -> None:
    """Makes the response delete the cookie."""
    g.page_cookie = None


def put(response: Response) -> Response:
    """After each request: sets or deletes the cookie as requested by `issue` and `delete`."""
    if "page_cookie" not in g:
        return response
    subject: Subject | None = g.page_cookie
    if subject is None:
        cookies.delete(response, COOKIE)
    else:
        value = auth_parts().tokens.issue(TokenType.PAGE, subject)
        cookies.put(response, COOKIE, value, max_age_secs=logins.PAGE_TTL.total_seconds())
    return response
