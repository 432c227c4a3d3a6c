"""Who makes the current request, and whether he may: bearer tokens, the page cookie, and what protects the cookie."""

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
from netstacks.instance.withdrawals import What, Withdrawal
from netstacks.store import access, audit, logins, users
from netstacks.store.logins import ClientType
from netstacks.store.pool import Transaction
from netstacks.web.auth import page_cookie
from netstacks.web.auth.authenticate import Authenticated
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.parts import AuthParts, auth_parts, install
from netstacks.web.auth.tokens import Subject, TokenType
from netstacks.web.http import proxies

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_ENDED = "You are not logged in, or your log-in has ended."

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


def init_app(app: Flask, parts: AuthParts) -> None:
    """Prepares `app` for its users and their page cookies."""
    install(app, parts)
    app.after_request(page_cookie.put)


def login_states() -> LoginStates:
    """What this instance remembers about log-ins."""
    return auth_parts().login_states


def identify(*, anew: bool = False) -> Identity | None:
    """The user of this request: by bearer token, by `?token=` under /ws/, or by the page cookie.

    `anew` asks PostgreSQL whether the log-in holds; a request that may change something does so in any case.
    A token that is no longer good does not fall back to the cookie. Raises Forbidden when the cookie is used from a
    foreign page, or for a change without the CSRF token.
    """
    if "identity" not in g:
        g.identity = _identify(anew or request.method not in _SAFE_METHODS)
    who: Identity | None = g.identity
    return who


def identity() -> Identity:
    """The user of this request; 401 when there is none."""
    who = identify()
    if who is None:
        raise Unauthorized(_ENDED)
    return who


def requires(permission: str | None = None) -> Callable[[View], View]:
    """Lets a view be used by logged-in users only (401), and only with `permission` (403) if one is named.

    A request that may change something is judged by what PostgreSQL says now, others by an answer that is a few
    seconds old at most. What such a view changes or reveals it does in `transaction`.
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
    """A transaction in which the user of this request may do what the view requires, from its beginning to its end.

    A withdrawal of that access waits for it. Raises Unauthorized and Forbidden when one has come first.
    """
    with auth_parts().database.transaction() as tx:
        confirm(tx)
        yield tx


def confirm(tx: Transaction) -> None:
    """The check of `transaction`, for one that was begun before."""
    who = identity()
    role = access.role_of(tx, actor())
    if role is None:
        raise Unauthorized(_ENDED)
    g.identity = replace(who, role=role, permissions=permissions.of_role(role))
    _check_permission(g.identity)


def _check_permission(who: Identity) -> None:
    permission: str | None = g.get("permission")
    if permission and not who.may(permission):
        raise Forbidden(f"this needs the permission {permission}, which the role {who.role} does not have")


def lasting() -> Callable[[], bool]:
    """Tells at any later time whether the user of this request still may what the view requires.

    For an answer that goes on: what it has sent by then cannot be taken back.
    """
    permission: str | None = g.get("permission")
    who, states = identity(), login_states()
    subject = Subject(who.user_id, who.username, who.role, who.login_id)

    def may() -> bool:
        try:
            role = states.role(subject)
        except StoreBusy:
            return True  # It is asked again in a moment.
        return role is not None and (permission is None or permissions.grants(role, permission))

    return may


def actor() -> audit.Actor:
    """The user of this request and the address and log-in that the request comes by."""
    who = identity()
    return audit.Actor(who.username, who.user_id, request.remote_addr, who.login_id)


def signed_subject(environ: "WSGIEnvironment", parts: AuthParts) -> Subject | None:
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
        claims = next(page_cookie.claims(asked, parts), None) if origin is not None else None
    return claims.subject if claims else None


def act_for(subject: Subject) -> None:
    """Makes a user whom another instance has identified the user of this request; 401 when the log-in has ended."""
    role = login_states().role(subject)
    if role is None:
        raise Unauthorized(_ENDED)
    g.identity = _as_identity(subject, role)


def check_origin() -> None:
    """Raises Forbidden when a foreign web page makes this request.

    The Origin must be this site's own, by Host and perhaps port as a trusted proxy tells them, or one of
    ALLOWED_ORIGINS. Programs other than browsers send none: that is accepted from the bearer of a token, never with the
    cookie.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        if page_cookie.is_sent() and _bearer_token(request) is None:
            raise Forbidden("a request with a page's cookie needs the header Origin")
    elif not _is_own(origin, request, auth_parts()):
        raise Forbidden(
            f"the origin {origin} is not this site's, which was asked for as {request.host}: a load balancer must pass"
            " the header Host on as it was, or X-Forwarded-Host and -Proto from an address in TRUSTED_PROXIES; another"
            " site's origin is added by ALLOWED_ORIGINS"
        )


def _is_own(origin: str, asked: Request, parts: AuthParts) -> bool:
    return origin in parts.allowed_origins or any(
        urls.is_same_origin(origin, asked.scheme, host) for host in proxies.hosts(asked.environ)
    )


def csrf_token() -> str:
    """What this user's pages must send as `X-CSRF-Token` or as form field `csrf_token` with every change."""
    return auth_parts().tokens.csrf(identity().login_id)


def begin_login(tx: Transaction, proof: Authenticated, client_type: ClientType, token_id: str | None = None) -> Subject:
    """Writes down that a user, whose password was right, logs in; returns what the tokens are issued for.

    A withdrawal of access waits for it. Raises Unauthorized when one has come first.
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
    """Logs a user in by cookie; it is the user of this request from here on."""
    with auth_parts().database.transaction() as tx:
        subject = begin_login(tx, proof, "page")
    page_cookie.give(subject)
    g.identity = _as_identity(subject, subject.role)


def end_login() -> None:
    """Revokes the log-in of this request and takes its page cookie away."""
    who = identity()
    with auth_parts().database.transaction() as tx:
        access.lock(tx, who.user_id)
        logins.revoke(tx, who.login_id)
        audit.append(tx, actor(), "auth.logout", f"user:{who.user_id}")
    auth_parts().withdrawals.everywhere(Withdrawal(who.user_id, What.LOGINS, (who.login_id,)))
    page_cookie.take_away()


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


def _bearer_token(asked: Request) -> str | None:
    scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    if asked.path.startswith("/ws/"):
        return asked.args.get("token")
    return None


def _check_forgery(login_id: UUID) -> None:
    is_change = request.method not in _SAFE_METHODS
    if is_change or request.path.startswith("/ws/"):
        check_origin()
    if is_change:
        sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
        if not hmac.compare_digest(sent.encode(), auth_parts().tokens.csrf(login_id).encode()):
            raise Forbidden("this page is out of date: load it again (its CSRF token is missing or not of this log-in)")
