"""Authentication and authorisation of requests: bearer tokens, the page cookie, and its protection against CSRF."""

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from flask import Flask, g, request
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Request

from netstacks import permissions, urls
from netstacks.errors import Forbidden, StoreBusy
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import access, audit, logins, users
from netstacks.store.logins import ClientType
from netstacks.store.pool import Transaction
from netstacks.web.auth import page_cookie
from netstacks.web.auth.authenticate import Authenticated
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.parts import AuthParts, auth_parts, install
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.auth.tokens import Subject, TokenType
from netstacks.web.http import proxies

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_ENDED = "You are not logged in, or your log-in has ended."

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Identity:
    """The user of a request, with the user's current permissions."""

    user_id: UUID
    username: str
    role: str
    permissions: frozenset[str]
    login_id: UUID

    def may(self, permission: str) -> bool:
        """Whether `permission` is granted, by name or by `*`."""
        return bool(self.permissions & {permission, "*"})


def init_app(app: Flask, parts: AuthParts) -> None:
    """Installs authentication in `app`."""
    install(app, parts)
    app.after_request(page_cookie.put)


def login_states() -> LoginStates:
    """The states of log-ins, as cached by this instance."""
    return auth_parts().login_states


def identify(*, anew: bool = False) -> Identity | None:
    """The user of this request: by bearer token, by `?token=` under /ws/, or by the page cookie.

    `anew` checks the log-in in PostgreSQL, as every request with an unsafe method does.
    An invalid token does not fall back to the cookie. Raises Forbidden when the cookie is used from a page of another
    origin, or for a change without the CSRF token.
    """
    if "identity" not in g:
        g.identity = _identify(anew or request.method not in _SAFE_METHODS)
    user: Identity | None = g.identity
    return user


def identity() -> Identity:
    """The user of this request. Raises Unauthorized (401) when there is none."""
    user = identify()
    if user is None:
        raise Unauthorized(_ENDED)
    return user


def requires(permission: str | None = None) -> Callable[[View], View]:
    """Decorates a view: it requires a log-in (401) and, if one is named, `permission` (403).

    A request with an unsafe method is checked in PostgreSQL, others against an answer that is a few seconds old at
    most. A view that changes or reveals something does so in `transaction`.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            g.permission = permission
            _check_permission(identity())
            return view(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    return decorate


@contextmanager
def transaction() -> Iterator[Transaction]:
    """A transaction during which the user of this request keeps the permission that the view requires.

    A withdrawal of access waits for its end. Raises Unauthorized and Forbidden when access was withdrawn before.
    """
    with auth_parts().database.transaction() as tx:
        confirm(tx)
        yield tx


def confirm(tx: Transaction) -> None:
    """The check of `transaction`, for a transaction that is open already."""
    user = identity()
    role = access.role_of(tx, actor())
    if role is None:
        raise Unauthorized(_ENDED)
    g.identity = replace(user, role=role, permissions=permissions.of_role(role))
    _check_permission(g.identity)


def _check_permission(user: Identity) -> None:
    permission: str | None = g.get("permission")
    if permission and not user.may(permission):
        raise Forbidden(
            f"You need the {permission} permission to {PURPOSES[permission]}. Your role, {user.role}, does not have it."
        )


def lasting() -> Callable[[], bool]:
    """A function that tells at any later time whether the user of this request still has the required permission.

    For responses that are sent over a longer time, which must end when access is withdrawn.
    """
    permission: str | None = g.get("permission")
    user, states = identity(), login_states()
    subject = Subject(user.user_id, user.username, user.role, user.login_id)

    def may() -> bool:
        try:
            role = states.role(subject)
        except StoreBusy:
            return True  # The caller checks again within seconds.
        return role is not None and (permission is None or permissions.grants(role, permission))

    return may


def actor() -> audit.Actor:
    """The user of this request, with the client's address and the log-in, for the audit log."""
    user = identity()
    return audit.Actor(user.username, user.user_id, request.remote_addr, user.login_id)


def signed_subject(environ: "WSGIEnvironment", parts: AuthParts) -> Subject | None:
    """The subject of the signed, unexpired token of a request under /ws/; None for one that will be refused.

    Queries no database: `identify` finds out later whether the log-in was revoked.
    """
    wsgi_request = Request(environ)
    origin, token = wsgi_request.headers.get("Origin"), _bearer_token(wsgi_request)
    if origin is not None and not _is_own(origin, wsgi_request, parts):
        return None
    if token is not None:
        claims = parts.tokens.read(TokenType.ACCESS, token)
    else:
        claims = next(page_cookie.claims(wsgi_request, parts), None) if origin is not None else None
    return claims.subject if claims else None


def act_for(subject: Subject) -> None:
    """Makes `subject`, which another instance has authenticated, the user of this request.

    Raises Unauthorized (401) when the log-in has ended.
    """
    role = login_states().role(subject)
    if role is None:
        raise Unauthorized(_ENDED)
    g.identity = _as_identity(subject, role)


def check_origin() -> None:
    """Raises Forbidden when a web page of another origin makes this request.

    The header Origin must match the host and port of this site, as a trusted proxy forwards them, or one of
    ALLOWED_ORIGINS. Programs other than browsers send no Origin: that is accepted with a bearer token, never with the
    cookie.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        if page_cookie.is_sent() and _bearer_token(request) is None:
            raise Forbidden("A request with the page cookie needs the header Origin.")
    elif not _is_own(origin, request, auth_parts()):
        raise Forbidden(
            f"The origin {origin} is not the origin of this site, which was requested as {request.host}. A load"
            " balancer must pass the header Host on unchanged, or send X-Forwarded-Host and X-Forwarded-Proto from an"
            " address in TRUSTED_PROXIES. ALLOWED_ORIGINS adds the origins of other sites."
        )


def _is_own(origin: str, wsgi_request: Request, parts: AuthParts) -> bool:
    return origin in parts.allowed_origins or any(
        urls.is_same_origin(origin, wsgi_request.scheme, host) for host in proxies.hosts(wsgi_request.environ)
    )


def csrf_token() -> str:
    """The token that pages send with every change: header `X-CSRF-Token`, or form field `csrf_token`."""
    return auth_parts().tokens.csrf(identity().login_id)


def begin_login(tx: Transaction, proof: Authenticated, client_type: ClientType, token_id: str | None = None) -> Subject:
    """Stores a log-in of an authenticated user, and returns the subject of its tokens.

    A withdrawal of access waits for the transaction. Raises Unauthorized when access was withdrawn before.
    """
    user = proof.user
    access.lock(tx, user.id)
    role = users.note_login(tx, user.id, proof.password_hash)
    if role is None:
        raise Unauthorized("Your password or your access was changed a moment ago. Log in again.")
    max_days = auth_parts().login_max_days
    login_id = logins.begin(tx, user.id, client_type, token_id=token_id, address=request.remote_addr, max_days=max_days)
    actor = audit.Actor(user.username, user.id, request.remote_addr)
    audit.append(tx, actor, "auth.login", f"user:{user.id}", client_type=client_type)
    return Subject(user.id, user.username, role, login_id)


def start_page_login(proof: Authenticated) -> None:
    """Logs a user in by cookie, and makes that user the one of this request."""
    with auth_parts().database.transaction() as tx:
        subject = begin_login(tx, proof, "page")
    page_cookie.issue(subject)
    g.identity = _as_identity(subject, subject.role)


def end_login() -> None:
    """Revokes the log-in of this request and deletes its page cookie."""
    user = identity()
    with auth_parts().database.transaction() as tx:
        access.lock(tx, user.user_id)
        logins.revoke(tx, user.login_id)
        audit.append(tx, actor(), "auth.logout", f"user:{user.user_id}")
    auth_parts().withdrawals.everywhere(Withdrawal(user.user_id, Scope.LOGINS, (user.login_id,)))
    page_cookie.delete()


def _identify(anew: bool) -> Identity | None:
    token = _bearer_token(request)
    if token is not None:
        claims = auth_parts().tokens.read(TokenType.ACCESS, token)
        role = login_states().role(claims.subject, anew=anew) if claims else None
        return _as_identity(claims.subject, role) if claims and role else None
    for claims in page_cookie.claims(request, auth_parts()):
        role = login_states().role(claims.subject, anew=anew)
        if role is None:
            continue
        _check_forgery(claims.subject.login_id)
        page_cookie.renew(claims, role)
        return _as_identity(claims.subject, role)
    return None


def _as_identity(subject: Subject, role: str) -> Identity:
    return Identity(subject.user_id, subject.username, role, permissions.of_role(role), subject.login_id)


def _bearer_token(wsgi_request: Request) -> str | None:
    scheme, _, token = wsgi_request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if wsgi_request.path.startswith("/ws/"):
        return wsgi_request.args.get("token")
    return None


def _check_forgery(login_id: UUID) -> None:
    is_change = request.method not in _SAFE_METHODS
    if is_change or request.path.startswith("/ws/"):
        check_origin()
    if is_change:
        sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
        if not hmac.compare_digest(sent.encode(), auth_parts().tokens.csrf(login_id).encode()):
            raise Forbidden("This page is out of date. Reload it. (Its CSRF token is missing or of another log-in.)")
