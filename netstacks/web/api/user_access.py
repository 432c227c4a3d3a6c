"""Lists of users, and the log-ins and live sessions of one user, which an administrator can end."""

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks.errors import NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import access, audit, logins, roles, second_factors, session_lists, user_lists, users
from netstacks.store.logins import ClientType, Login
from netstacks.store.user_lists import Filter, ListedUser, State
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_query
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("user_access", __name__)

_USER = "/api/v1/users/<uuid:user_id>"
_MAX_SESSIONS = 500


class UserQuery(BaseModel):
    """`search` matches a part of the name, of the display name or of the e-mail address."""

    search: Annotated[str, StringConstraints(strip_whitespace=True, max_length=254)] | None = None
    role: Annotated[str, StringConstraints(max_length=40)] | None = None
    state: State | None = None
    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0, le=1_000_000)


class ListedUserJson(TypedDict):
    id: Uuid
    version: int
    """Goes up with each change. A change that sends an older one is refused."""
    username: str
    email: str | None
    display_name: str | None
    role: str
    auth_provider: str
    """`local`, or `oidc` for a user whom single sign-on has created."""
    is_active: bool
    created_at: Timestamp
    last_login: Timestamp | None
    logins: int
    """How many log-ins have not ended."""
    sessions: int
    """How many sessions have not ended."""


class PasswordLengths(TypedDict):
    """How many characters a new password must have."""

    user: int
    admin: int


class SingleUserJson(ListedUserJson):
    """A user with what the user of the request may do with it."""

    may_change: bool
    second_factors: list[str]
    """The kinds that the user has: `totp`, `passkey`."""
    password_lengths: PasswordLengths


class UserPage(TypedDict):
    items: list[ListedUserJson]
    total: int
    limit: int
    offset: int
    password_lengths: PasswordLengths


class LoginJson(TypedDict):
    id: Uuid
    client_type: ClientType
    address: str | None
    """The IP address that the log-in came from."""
    created_at: Timestamp
    last_seen_at: Timestamp
    is_current: bool
    """Whether it is that of the request."""


class Logins(TypedDict):
    items: list[LoginJson]


class UserSessionJson(TypedDict):
    id: Uuid
    device_name: str
    host: str
    port: int
    state: str
    owner: str | None
    """The instance that holds its SSH connection."""
    started_at: Timestamp


class UserSessions(TypedDict):
    items: list[UserSessionJson]


@blueprint.get("/api/v1/users")
@guard.requires("users.manage")
@takes_query(UserQuery)
def list_users(query: UserQuery) -> UserPage:
    """A page of users by name, with their log-ins and live sessions counted; and the lengths of new passwords."""
    with services().database.transaction() as tx:
        wanted = Filter(query.search or None, query.role, query.state)
        found, total = user_lists.page(tx, wanted, limit=query.limit, offset=query.offset)
    return {
        "items": [as_json(each) for each in found],
        "total": total,
        "limit": query.limit,
        "offset": query.offset,
        "password_lengths": _password_lengths(),
    }


@blueprint.get(_USER)
@guard.requires("users.manage")
def get_user(user_id: UUID) -> SingleUserJson:
    """A user; `may_change` tells whether the user of the request has all that this one has."""
    with services().database.transaction() as tx:
        user = user_lists.find(tx, user_id)
        if user is None:
            raise NotFound("There is no such user.")
        role = roles.role_named(tx, user.role)
        factors = second_factors.kinds_of(tx, user_id)
    return {
        **as_json(user),
        "may_change": guard.identity().as_role.covers(role),
        "second_factors": factors,
        "password_lengths": _password_lengths(),
    }


@blueprint.get(f"{_USER}/logins")
@guard.requires("users.manage")
def list_logins(user_id: UUID) -> Logins:
    """The user's log-ins that have not ended, the most recently active first."""
    with services().database.transaction() as tx:
        users.get(tx, user_id)
        return {"items": [login_as_json(each) for each in logins.of_user(tx, user_id)]}


@blueprint.get(f"{_USER}/sessions")
@guard.requires("users.manage")
def list_sessions(user_id: UUID) -> UserSessions:
    """The user's live sessions that are in sight, newest first."""
    with services().database.transaction() as tx:
        users.get(tx, user_id)
        seen_by = sight("users.manage")
        page = session_lists.page(tx, user_id=user_id, live=True, limit=_MAX_SESSIONS, seen_by=seen_by)
    return {"items": [_session(row) for row in page.rows]}


@blueprint.delete(f"{_USER}/logins/<uuid:login_id>")
@guard.requires("users.manage")
@answers(204)
def revoke_login(user_id: UUID, login_id: UUID) -> Response:
    """Ends one log-in. The user's sessions go on, without the connections of that log-in."""
    with services().database.transaction() as tx:
        access.lock_administration(tx)
        access.lock(tx, user_id)
        guard.confirm(tx)
        user = users.get(tx, user_id)
        guard.check_gives(roles.role_named(tx, user.role))
        logins.revoke_own(tx, user_id, login_id)
        details = {"username": user.username, "login": str(login_id)}
        audit.append(tx, guard.actor(), "user.login_revoked", f"user:{user_id}", **details)
    services().withdrawals.everywhere(Withdrawal(user_id, Scope.LOGINS, (login_id,)))
    return Response(status=204)


def as_json(user: ListedUser) -> ListedUserJson:
    return {
        "id": str(user.id),
        "username": user.username,
        "email": user.email,
        "display_name": user.display_name,
        "role": user.role,
        "auth_provider": user.auth_provider,
        "is_active": user.is_active,
        "created_at": timestamp(user.created_at),
        "last_login": timestamp(user.last_login_at),
        "logins": user.logins,
        "sessions": user.sessions,
        "version": user.version,
    }


def _password_lengths() -> PasswordLengths:
    lengths = services().system_settings.password_lengths()
    return {"user": lengths.user, "admin": lengths.of_role("admin")}


def login_as_json(login: Login) -> LoginJson:
    return {
        "id": str(login.id),
        "client_type": login.client_type,
        "address": login.address,
        "created_at": timestamp(login.created_at),
        "last_seen_at": timestamp(login.last_seen_at),
        "is_current": login.id == guard.identity().login_id,
    }


def _session(row: dict[str, Any]) -> UserSessionJson:
    return {
        "id": str(row["id"]),
        "device_name": row["device_name"],
        "host": row["host"],
        "port": row["port"],
        "state": row["state"],
        "owner": row["owner"],
        "started_at": timestamp(row["started_at"]),
    }
