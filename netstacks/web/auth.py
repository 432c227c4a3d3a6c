"""Who makes the current request, and whether he may: bearer tokens, the page cookie, and what protects the cookie.

The cookie is SameSite=Lax, not Strict: a link to a session, followed from a ticket or a mail, must find its reader
logged in. What Lax would let through (nothing but top-level GETs) changes nothing, and every request that does
change something by the cookie must also name our own origin and carry the CSRF token.
"""

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Request

from netstacks import urls
from netstacks.errors import Forbidden
from netstacks.store import audit, logins, users
from netstacks.store.logins import ClientType
from netstacks.store.pool import Transaction
from netstacks.store.users import User
from netstacks.web import permissions, proxies
from netstacks.web.context import Services, services
from netstacks.web.login_states import LoginStates
from netstacks.web.tokens import Claims, Subject, TokenType

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

COOKIE = "netstacks_page"
# A cookie this much older than new is replaced by a new one.
_RENEW_AFTER_SECS = 600
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Identity:
    """The user of a request, with what he may do at this moment."""

    user_id: UUID
    username: str
    role: str
    permissions: frozenset[str]
    login_id: UUID

    def may(self, permission: str) -> bool:
        """Whether `permission` is granted, by name or by `*`."""
        return bool(self.permissions & {permission, "*"})


def init_app(app: Flask) -> None:
    """Prepares `app` for identifying its users and for their page cookies."""
    app.extensions["netstacks.logins"] = LoginStates(app.extensions["netstacks"].routing_database)
    app.after_request(_set_cookie)


def login_states() -> LoginStates:
    """What this instance knows about log-ins; tell it when one is revoked here."""
    states: LoginStates = current_app.extensions["netstacks.logins"]
    return states


def identify() -> Identity | None:
    """The user of this request: by bearer token, by `?token=` under /ws/, or by the page cookie.

    A token that is no longer good does not fall back to the cookie. Raises Forbidden when the cookie is used from a
    foreign page, or for a change without the CSRF token.
    """
    if "identity" not in g:
        g.identity = _identify()
    who: Identity | None = g.identity
    return who


def identity() -> Identity:
    """The user of this request; 401 when there is none."""
    who = identify()
    if who is None:
        raise Unauthorized("You are not logged in, or your log-in has expired.")
    return who


def requires(permission: str | None = None) -> Callable[[View], View]:
    """Lets a view be used by logged-in users only (401), and only with `permission` (403) if one is named."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            who = identity()
            if permission and not who.may(permission):
                raise Forbidden(f"this needs the permission {permission}, which the role {who.role} does not have")
            return view(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    return decorate


def actor() -> audit.Actor:
    """The user of this request and his address, for audit rows."""
    who = identity()
    return audit.Actor(who.username, who.user_id, request.remote_addr)


def signed_subject(environ: "WSGIEnvironment", parts: Services) -> Subject | None:
    """Whose signed, unexpired token a request under /ws/ carries; None for a request that is going to be refused.

    Asks no store: that a log-in was revoked is found out by `identify`.
    """
    asked = Request(environ)
    origin, token = asked.headers.get("Origin"), _bearer_token(asked)
    if origin is not None and not _is_own(origin, asked, parts):
        return None
    if token is not None:
        claims = parts.tokens.read(TokenType.ACCESS, token)
    else:
        claims = parts.tokens.read(TokenType.PAGE, asked.cookies.get(COOKIE, "")) if origin is not None else None
    return claims.subject if claims else None


def act_for(subject: Subject) -> None:
    """Makes a user whom another instance has identified the user of this request; 401 when the log-in has ended."""
    role = login_states().role(subject)
    if role is None:
        raise Unauthorized("Your log-in has ended.")
    g.identity = _as_identity(subject, role)


def check_origin() -> None:
    """Raises Forbidden when a foreign web page makes this request.

    The Origin must be this site's own, by Host and perhaps port as a trusted proxy tells them, or one of
    ALLOWED_ORIGINS. Programs other than browsers send none: that is accepted from the bearer of a token, never with the
    cookie.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        if COOKIE in request.cookies and _bearer_token(request) is None:
            raise Forbidden("a request with a page's cookie needs the header Origin")
    elif not _is_own(origin, request, services()):
        raise Forbidden(
            f"the origin {origin} is not this site's, which was asked for as {request.host}: a load balancer must pass"
            " the header Host on as it was, or X-Forwarded-Host and -Proto from an address in TRUSTED_PROXIES; another"
            " site's origin is added by ALLOWED_ORIGINS"
        )


def _is_own(origin: str, asked: Request, parts: Services) -> bool:
    return origin in parts.settings.allowed_origins or any(
        urls.is_same_origin(origin, asked.scheme, host) for host in proxies.hosts(asked.environ)
    )


def csrf_token() -> str:
    """What this user's pages must send as `X-CSRF-Token` or as form field `csrf_token` with every change."""
    return services().tokens.csrf(identity().login_id)


def begin_login(tx: Transaction, user: User, client_type: ClientType, token_id: str | None = None) -> Subject:
    """Writes down that `user`, whose password was right, logs in; returns what his tokens are issued for."""
    login_id = logins.begin(tx, user.id, client_type, token_id=token_id, address=request.remote_addr)
    users.note_login(tx, user.id)
    actor = audit.Actor(user.username, user.id, request.remote_addr)
    audit.append(tx, actor, "auth.login", f"user:{user.id}", client_type=client_type)
    return Subject(user.id, user.username, user.role, login_id)


def start_page_login(user: User) -> None:
    """Logs `user` in by cookie; he is the user of this request from here on."""
    with services().database.transaction() as tx:
        subject = begin_login(tx, user, "page")
    g.page_cookie = subject
    g.identity = _as_identity(subject, user.role)


def end_login() -> None:
    """Revokes the log-in of this request and takes its page cookie away."""
    who = identity()
    with services().database.transaction() as tx:
        logins.revoke(tx, who.login_id)
        audit.append(tx, actor(), "auth.logout", f"user:{who.user_id}")
    login_states().forget()
    g.page_cookie = None


def _identify() -> Identity | None:
    token = _bearer_token(request)
    claims = _cookie_claims() if token is None else services().tokens.read(TokenType.ACCESS, token)
    if claims is None:
        return None
    role = login_states().role(claims.subject)
    if role is None:
        return None
    if token is None:
        _check_forgery(claims.subject.login_id)
        if claims.expires_at - time.time() < logins.PAGE_TTL.total_seconds() - _RENEW_AFTER_SECS:
            g.page_cookie = replace(claims.subject, role=role)
    return _as_identity(claims.subject, role)


def _as_identity(subject: Subject, role: str) -> Identity:
    return Identity(subject.user_id, subject.username, role, permissions.of_role(role), subject.login_id)


def _bearer_token(asked: Request) -> str | None:
    scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if asked.path.startswith("/ws/"):
        return asked.args.get("token")
    return None


def _cookie_claims() -> Claims | None:
    return services().tokens.read(TokenType.PAGE, request.cookies.get(COOKIE, ""))


def _check_forgery(login_id: UUID) -> None:
    is_change = request.method not in _SAFE_METHODS
    if is_change or request.path.startswith("/ws/"):
        check_origin()
    if is_change:
        sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
        if not hmac.compare_digest(sent.encode(), services().tokens.csrf(login_id).encode()):
            raise Forbidden("this page is out of date: load it again (its CSRF token is missing or not of this log-in)")


def _set_cookie(response: Response) -> Response:
    if "page_cookie" not in g:
        return response
    subject: Subject | None = g.page_cookie
    if subject is None:
        response.delete_cookie(COOKIE)
        return response
    response.set_cookie(
        COOKIE,
        services().tokens.issue(TokenType.PAGE, subject),
        max_age=logins.PAGE_TTL,
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )
    return response
