"""Authentication and authorisation of requests: bearer tokens, the page cookie, and its protection against CSRF."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from flask import Flask, g, request
from werkzeug.exceptions import Unauthorized
from werkzeug.wrappers import Request

from netstacks.errors import Forbidden, StoreBusy
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.permissions import EVERYWHERE, Reach, Role, is_granted
from netstacks.store import access, audit, logins, roles, users
from netstacks.store.logins import ClientType
from netstacks.store.pool import Transaction
from netstacks.web.auth import bearer, origins, page_cookie
from netstacks.web.auth.authenticate import Authenticated
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.parts import AuthParts, auth_parts, install
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.auth.tokens import Subject, TokenType

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_ENDED = "You are not logged in, or your log-in has ended."

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Identity:
    """The user of a request, with the user's current permissions and the devices that they are for."""

    user_id: UUID
    username: str
    role: str
    permissions: frozenset[str]
    login_id: UUID
    reach: Reach = EVERYWHERE

    def may(self, permission: str) -> bool:
        """Whether `permission` is granted, by name or by a wildcard."""
        return is_granted(permission, self.permissions)

    @property
    def as_role(self) -> Role:
        return Role(self.role, self.permissions, self.reach)


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

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded  # type: ignore[return-value]

    return decorate


def requires_login(view: Callable[..., Any]) -> bool:
    """Whether `requires` decorates `view`."""
    return hasattr(view, "permission")


def permission_of(view: Callable[..., Any]) -> str | None:
    """The permission that `requires` has been given for `view`; None when there is none."""
    permission: str | None = getattr(view, "permission", None)
    return permission


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
    g.identity = replace(user, role=role.name, permissions=role.permissions, reach=role.reach)
    _check_permission(g.identity)


def _check_permission(user: Identity) -> None:
    permission: str | None = g.get("permission")
    if permission and not user.may(permission):
        raise Forbidden(
            f"You need the {permission} permission to {PURPOSES[permission]}. Your role, {user.role}, does not have it."
        )


def lasting() -> Callable[[], bool]:
    """A function that tells at any later time whether the user of this request still has the required permission, for
    the same devices.

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
        return role is not None and role.reach == user.reach and (permission is None or role.may(permission))

    return may


def check_gives(role: Role) -> None:
    """Raises Forbidden unless the user of this request may do all that `role` may do.

    Each request that gives a role, changes a role, or changes a user with a role calls this. Without it, a user with
    only `users.manage` could get every other permission. Call it in `transaction`, with the role read in it.
    """
    me = identity().as_role
    if me.covers(role):
        return
    missing = sorted(each for each in role.permissions if not me.may(each))
    what = f"the permissions {', '.join(missing)}" if missing else "devices beyond those of your role"
    raise Forbidden(
        f"The role {role.name} has {what}, which your role, {me.name}, does not have. A user can only give"
        " and change permissions that they have."
    )


def actor() -> audit.Actor:
    """The user of this request, with the client's address and the log-in, for the audit log."""
    user = identity()
    return audit.Actor(user.username, user.user_id, request.remote_addr, user.login_id)


def signed_subject(environ: "WSGIEnvironment", parts: AuthParts) -> Subject | None:
    """The subject of the signed, unexpired token of a request under /ws/; None for one that will be refused.

    Queries no database: `identify` finds out later whether the log-in was revoked.
    """
    wsgi_request = Request(environ)
    origin, token = wsgi_request.headers.get("Origin"), bearer.token_of(wsgi_request)
    if origin is not None and not origins.is_own(origin, wsgi_request, parts):
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
        role = roles.role_named(tx, subject.role)
    page_cookie.issue(subject)
    g.identity = _as_identity(subject, role)


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
    token = bearer.token_of(request)
    if token is not None:
        claims = auth_parts().tokens.read(TokenType.ACCESS, token)
        role = login_states().role(claims.subject, anew=anew) if claims else None
        return _as_identity(claims.subject, role) if claims and role else None
    for claims in page_cookie.claims(request, auth_parts()):
        role = login_states().role(claims.subject, anew=anew)
        if role is None:
            continue
        _check_forgery(claims.subject.login_id)
        page_cookie.renew(claims, role.name)
        return _as_identity(claims.subject, role)
    return None


def _as_identity(subject: Subject, role: Role) -> Identity:
    return Identity(subject.user_id, subject.username, role.name, role.permissions, subject.login_id, role.reach)


def _check_forgery(login_id: UUID) -> None:
    is_change = request.method not in _SAFE_METHODS
    if is_change or request.path.startswith("/ws/"):
        origins.check()
    if is_change:
        sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
        if not auth_parts().tokens.is_csrf(login_id, sent):
            raise Forbidden("This page is out of date. Reload it. (Its CSRF token is missing or of another log-in.)")
