"""Administration of users, and everybody's own password."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints

from netstacks import greenlets
from netstacks.errors import Forbidden, NetstacksError, SessionGone
from netstacks.store import audit, logins, sessions, users
from netstacks.store.passwords import MAX_LENGTH, hash_password
from netstacks.store.pool import Transaction
from netstacks.store.users import Role, User
from netstacks.web import auth, permissions
from netstacks.web.authenticate import is_own_password
from netstacks.web.context import Services, services
from netstacks.web.inputs import parse
from netstacks.web.login import as_json

blueprint = Blueprint("users", __name__)

log = structlog.get_logger()

_WITHDRAWN = "access was withdrawn"
# The owners of a user's terminals are waited for so long.
_OWNERS_SECS = 5.0

Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]


class Profile(BaseModel):
    """What an administrator decides about a user."""

    role: Role
    email: Email | None = None
    display_name: str | None = Field(None, max_length=128)


class NewUser(Profile):
    username: str
    password: str


class UserChange(Profile):
    is_active: bool


class NewPassword(BaseModel):
    password: str


class OwnPassword(BaseModel):
    current_password: str = Field(max_length=MAX_LENGTH)
    new_password: str


@blueprint.get("/api/users")
@auth.requires("users.manage")
def list_users() -> dict[str, Any]:
    with services().database.transaction() as tx:
        items = [as_json(user) for user in users.every(tx)]
    return {"items": items, "total": len(items)}


@blueprint.post("/api/users")
@auth.requires("users.manage")
def create_user() -> tuple[dict[str, Any], int]:
    body = parse(NewUser)
    password_hash = hash_password(body.password)
    with services().database.transaction() as tx:
        user = users.create(tx, password_hash=password_hash, **body.model_dump(exclude={"password"}))
        _audit(tx, "user.created", user.id, username=user.username, role=user.role)
    return as_json(user), 201


@blueprint.get("/api/users/<uuid:user_id>")
@auth.requires("users.manage")
def get_user(user_id: UUID) -> dict[str, Any]:
    with services().database.transaction() as tx:
        return as_json(users.get(tx, user_id))


@blueprint.put("/api/users/<uuid:user_id>")
@auth.requires("users.manage")
def update_user(user_id: UUID) -> dict[str, Any]:
    """Replaces the profile; a user who is deactivated is logged out everywhere.

    The terminals of a user end who is deactivated or whose role may not open any.
    """
    body = parse(UserChange)
    with services().database.transaction() as tx:
        user: User = users.update(tx, user_id, **body.model_dump())
        if not user.is_active:
            logins.revoke_all(tx, user_id)
        may_connect = user.is_active and bool(permissions.of_role(user.role) & {"sessions.connect", "*"})
        elsewhere = [] if may_connect else _end_terminals(tx, user)
        _audit(tx, "user.updated", user_id, username=user.username, role=user.role, is_active=user.is_active)
    if not may_connect:
        _withdraw(user_id, elsewhere)
    auth.login_states().forget()
    return as_json(user)


@blueprint.delete("/api/users/<uuid:user_id>")
@auth.requires("users.manage")
def delete_user(user_id: UUID) -> Response:
    with services().database.transaction() as tx:
        user = users.get(tx, user_id)
        users.delete(tx, user_id)
        elsewhere = _end_terminals(tx, user)
        _audit(tx, "user.deleted", user_id, username=user.username)
    _withdraw(user_id, elsewhere)
    auth.login_states().forget()
    return Response(status=204)


@blueprint.put("/api/users/<uuid:user_id>/password")
@auth.requires("users.manage")
def set_password(user_id: UUID) -> Response:
    """Sets a user's password, logs them out everywhere and ends their terminals."""
    _change_password(user_id, parse(NewPassword).password, keep=None)
    return Response(status=204)


@blueprint.delete("/api/users/<uuid:user_id>/logins")
@auth.requires("users.manage")
def revoke_logins(user_id: UUID) -> Response:
    """Logs a user out everywhere and ends their terminals."""
    with services().database.transaction() as tx:
        user = users.get(tx, user_id)
        logins.revoke_all(tx, user_id)
        elsewhere = _end_terminals(tx, user)
        _audit(tx, "user.logins_revoked", user_id, username=user.username)
    _withdraw(user_id, elsewhere)
    auth.login_states().forget()
    return Response(status=204)


@blueprint.put("/api/auth/password")
@auth.requires()
def change_own_password() -> Response:
    """Changes the password of whoever knows it, and ends all other log-ins of theirs."""
    body = parse(OwnPassword)
    who = auth.identity()
    with services().database.transaction() as tx:
        password_hash = users.password_hash_of(tx, who.user_id)
    if not is_own_password(body.current_password, password_hash, str(who.user_id), str(who.login_id)):
        raise Forbidden("current_password: is not correct")
    _change_password(who.user_id, body.new_password, keep=who.login_id)
    return Response(status=204)


def _change_password(user_id: UUID, password: str, *, keep: UUID | None) -> None:
    """With `keep`, a log-in of whoever changes their own password, that one and all terminals go on."""
    password_hash = hash_password(password)
    with services().database.transaction() as tx:
        user = users.get(tx, user_id)
        users.set_password(tx, user_id, password_hash)
        logins.revoke_all(tx, user_id, but=keep)
        elsewhere = _end_terminals(tx, user) if keep is None else []
        _audit(tx, "user.updated", user_id, username=user.username, changed="password")
    if keep is None:
        _withdraw(user_id, elsewhere)
    auth.login_states().forget()


def _end_terminals(tx: Transaction, user: User) -> list[UUID]:
    """Notes that a user's sessions are to end. Those of this instance, and those returned, are still to be told."""
    ended, owned = sessions.end_all_of(tx, user.id, _WITHDRAWN)
    for session_id in (*ended, *owned):
        details = {"owner": user.username, "reason": _WITHDRAWN}
        audit.append(tx, auth.actor(), "session.ended_by_user", f"session:{session_id}", **details)
    here = set(services().hub.of_user(user.id))
    return [session_id for session_id in owned if session_id not in here]


def _withdraw(user_id: UUID, elsewhere: list[UUID]) -> None:
    """Ends what a user has open, after the commit. An owner that does not answer now finds out from the row."""
    services().hub.withdraw(user_id, _WITHDRAWN)
    endings = [greenlets.spawn("session-withdraw", _end_at_owner, services(), each) for each in elsewhere]
    greenlets.joinall(endings, timeout=_OWNERS_SECS)


def _end_at_owner(parts: Services, session_id: UUID) -> None:
    try:
        parts.broker.end(session_id, _WITHDRAWN)
    except SessionGone:
        pass
    except NetstacksError as error:
        log.warning("session.not_withdrawn_yet", session_id=str(session_id), error=str(error))


def _audit(tx: Transaction, event: str, user_id: UUID, **details: Any) -> None:
    audit.append(tx, auth.actor(), event, f"user:{user_id}", **details)
