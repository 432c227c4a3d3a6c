"""Administration of users, and the change of one's own password."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks.crypto import password_rules
from netstacks.crypto.password_rules import MAX_LENGTH, Lengths
from netstacks.crypto.passwords import hash_password
from netstacks.errors import Conflict, Forbidden
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.permissions import Role
from netstacks.store import access, audit, logins, roles, second_factors, sessions, shares, users
from netstacks.store.access import WITHDRAWN
from netstacks.store.pool import Transaction
from netstacks.store.shares import Share
from netstacks.store.users import User
from netstacks.web.api.roles import end_sessions_beyond
from netstacks.web.api.shares import end_views_of
from netstacks.web.api.user_json import UserJson, as_json
from netstacks.web.auth import guard
from netstacks.web.auth.authenticate import is_own_password
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Seen, SeenVersion

blueprint = Blueprint("users", __name__)

Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class Profile(BaseModel):
    """The members of a user that an administrator sets."""

    role: Annotated[str, Field(max_length=40)]
    email: Email | None = None
    display_name: str | None = Field(None, max_length=128)


class NewUser(Profile):
    username: str
    password: str


class UserChange(Profile):
    is_active: bool
    version: Seen = None


class NewPassword(BaseModel):
    password: str


class OwnPassword(BaseModel):
    current_password: str = Field(max_length=MAX_LENGTH)
    new_password: str


class Users(TypedDict):
    items: list[UserJson]
    total: int


@blueprint.get("/api/users")
@guard.requires("users.manage")
def list_users() -> Users:
    with services().database.transaction() as tx:
        found = users.list_all(tx)
        factors = second_factors.kinds(tx, [user.id for user in found])
        items = [as_json(user, factors[user.id]) for user in found]
    return {"items": items, "total": len(items)}


@blueprint.post("/api/users")
@guard.requires("users.manage")
@takes_body(NewUser)
@answers(201)
def create_user(body: NewUser) -> tuple[UserJson, int]:
    with services().database.transaction() as tx:
        rules = users.password_role(roles.role_named(tx, body.role))
    password_rules.check(
        body.password, role=rules, names=(body.username, body.email, body.display_name), lengths=_lengths()
    )
    password_hash, is_long = hash_password(body.password), password_rules.is_long(body.password, _lengths())
    values = body.model_dump(exclude={"password"})
    with _administration() as tx:
        guard.check_gives(roles.role_named(tx, body.role))
        user = users.create(tx, password_hash=password_hash, is_password_long=is_long, **values)
        _audit(tx, "user.created", user.id, username=user.username, role=user.role)
    return as_json(user), 201


@blueprint.get("/api/users/<uuid:user_id>")
@guard.requires("users.manage")
def get_user(user_id: UUID) -> UserJson:
    with services().database.transaction() as tx:
        return as_json(users.get(tx, user_id), second_factors.kinds_of(tx, user_id))


@blueprint.put("/api/users/<uuid:user_id>")
@guard.requires("users.manage")
@takes_body(UserChange)
def update_user(body: UserChange, user_id: UUID) -> UserJson:
    """Replaces the profile. A deactivated user is logged out everywhere.

    Terminals end when the user is deactivated or the new role may not open any.
    """
    with _administration(user_id) as tx:
        before, role = _get(tx, user_id), roles.role_named(tx, body.role)
        guard.check_gives(role)
        user: User = users.update(
            tx, user_id, by=guard.identity().username, seen=body.version, **body.model_dump(exclude={"version"})
        )
        what, revoked = _withdrawn(user, role), []
        if what is Scope.ACCESS:
            logins.revoke_all(tx, user_id)
        if what is not Scope.NOTHING:
            _end_sessions(tx, user)
        elif role.reach.is_limited:
            end_sessions_beyond(tx, role)
        if what is Scope.ACCESS or not role.may("sessions.manage"):
            revoked = _revoke_shares(tx, user)
        factors = second_factors.kinds_of(tx, user_id)
        _audit(tx, "user.updated", user_id, username=user.username, role=user.role, is_active=user.is_active)
    if (before.role, before.is_active) != (user.role, user.is_active):
        _withdraw(user_id, what, revoked)
        if role.reach.is_limited:
            services().withdrawals.role_changed(role.name)
    return as_json(user, factors)


@blueprint.delete("/api/users/<uuid:user_id>")
@guard.requires("users.manage")
@takes_query(SeenVersion)
@answers(204)
def delete_user(seen: SeenVersion, user_id: UUID) -> Response:
    with _administration(user_id) as tx:
        user = _get(tx, user_id)
        users.delete(tx, user_id, seen=seen.version)
        _end_sessions(tx, user)
        revoked = _revoke_shares(tx, user)
        _audit(tx, "user.deleted", user_id, username=user.username)
    _withdraw(user_id, Scope.ACCESS, revoked)
    return Response(status=204)


@blueprint.put("/api/users/<uuid:user_id>/password")
@guard.requires("users.manage")
@takes_body(NewPassword)
@answers(204)
def set_password(body: NewPassword, user_id: UUID) -> Response:
    """Sets a user's password, ends all log-ins of the user and their terminals."""
    password = body.password
    with services().database.transaction() as tx:
        user = users.get(tx, user_id)
        rules = users.password_role(roles.role_named(tx, user.role))
    _check(password, user, rules)
    password_hash = hash_password(password)
    with _administration(user_id) as tx:
        user = _get(tx, user_id)
        users.set_password(tx, user_id, password_hash, is_long=password_rules.is_long(password, _lengths()))
        ended = logins.revoke_all(tx, user_id)
        _end_sessions(tx, user)
        _audit(tx, "user.updated", user_id, username=user.username, changed="password")
    services().withdrawals.everywhere(Withdrawal(user_id, Scope.ALL_LOGINS, tuple(ended)))
    return Response(status=204)


@blueprint.delete("/api/users/<uuid:user_id>/logins")
@guard.requires("users.manage")
@answers(204)
def revoke_logins(user_id: UUID) -> Response:
    """Ends all log-ins and terminals of a user."""
    with _administration(user_id) as tx:
        user = _get(tx, user_id)
        ended = logins.revoke_all(tx, user_id)
        _end_sessions(tx, user)
        _audit(tx, "user.logins_revoked", user_id, username=user.username)
    services().withdrawals.everywhere(Withdrawal(user_id, Scope.ALL_LOGINS, tuple(ended)))
    return Response(status=204)


@blueprint.delete("/api/v1/users/<uuid:user_id>/second-factors")
@guard.requires("users.manage")
@answers(204)
def reset_second_factors(user_id: UUID) -> Response:
    """Removes all second factors of another user, who has lost them, and ends the user's log-ins and terminals."""
    if user_id == guard.identity().user_id:
        raise Conflict("your own second factors are changed on your account page")
    with _administration(user_id) as tx:
        user = _get(tx, user_id)
        second_factors.lock(tx, user_id)
        kinds = second_factors.kinds_of(tx, user_id)
        second_factors.remove_all(tx, user_id)
        ended = logins.revoke_all(tx, user_id)
        _end_sessions(tx, user)
        _audit(tx, "user.second_factors_reset", user_id, username=user.username, kinds=kinds)
    services().withdrawals.everywhere(Withdrawal(user_id, Scope.ALL_LOGINS, tuple(ended)))
    return Response(status=204)


@blueprint.put("/api/auth/password")
@guard.requires()
@takes_body(OwnPassword)
@answers(204, 429)
def change_own_password(body: OwnPassword) -> Response:
    """Changes the user's own password, given the current one, and ends the user's other log-ins."""
    me = guard.identity()
    with services().database.transaction() as tx:
        user, current_hash = users.get(tx, me.user_id), users.password_hash_of(tx, me.user_id)
    if not is_own_password(body.current_password, current_hash, str(me.user_id), str(me.login_id)):
        raise Forbidden("current_password: is not correct")
    _check(body.new_password, user, users.password_role(me.as_role))
    password_hash = hash_password(body.new_password)
    with _administration(me.user_id) as tx:
        users.set_password(tx, me.user_id, password_hash, is_long=password_rules.is_long(body.new_password, _lengths()))
        ended = logins.revoke_all(tx, me.user_id, but=me.login_id)
        _audit(tx, "user.updated", me.user_id, username=me.username, changed="password")
    services().withdrawals.everywhere(Withdrawal(me.user_id, Scope.LOGINS, tuple(ended)))
    return Response(status=204)


def _check(password: str, user: User, rules: str) -> None:
    password_rules.check(password, role=rules, names=(user.username, user.email, user.display_name), lengths=_lengths())


def _lengths() -> Lengths:
    return services().system_settings.password_lengths()


def _get(tx: Transaction, user_id: UUID) -> User:
    """A user whom the user of this request may change. Raises NotFound and Forbidden."""
    user = users.get(tx, user_id)
    guard.check_gives(roles.role_named(tx, user.role))
    return user


@contextmanager
def _administration(user_id: UUID | None = None) -> Iterator[Transaction]:
    """A transaction that changes users, serialised with all others. `user_id` is None for a new user."""
    with services().database.transaction() as tx:
        access.lock_administration(tx)
        if user_id is not None:
            access.lock(tx, user_id)
        guard.confirm(tx)
        yield tx


def _withdrawn(user: User, role: Role) -> Scope:
    """The access that a user in this state, with this role, must lose."""
    if not user.is_active:
        return Scope.ACCESS
    return Scope.NOTHING if role.may("sessions.connect") else Scope.TERMINALS


def _withdraw(user_id: UUID, what: Scope, revoked: Iterable[Share]) -> None:
    """Applies a withdrawal on all instances. Call it after the commit: instances then read the new state."""
    services().withdrawals.everywhere(Withdrawal(user_id, what))
    for share in revoked:
        end_views_of(share, "this share was revoked: its creator has lost access")


def _end_sessions(tx: Transaction, user: User) -> None:
    """Marks a user's sessions as ended; their owners are notified after the commit."""
    ended, owned = sessions.end_all_of(tx, user.id, WITHDRAWN)
    for session_id in (*ended, *owned):
        details = {"owner": user.username, "reason": WITHDRAWN}
        audit.append(tx, guard.actor(), "session.ended_by_user", f"session:{session_id}", **details)


def _revoke_shares(tx: Transaction, user: User) -> list[Share]:
    """Revokes the shares of other users' sessions that a former administrator has created."""
    revoked = shares.revoke_of_others(tx, user.id, user.username)
    for share in revoked:
        audit.append(tx, guard.actor(), "session.share_revoked", f"session:{share.session_id}", share=str(share.id))
    return revoked


def _audit(tx: Transaction, event: str, user_id: UUID, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"user:{user_id}", **details)
