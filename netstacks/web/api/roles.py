"""Roles: what the users of each may do, and with which devices; and the catalogue of permissions."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks.errors import InvalidInput
from netstacks.formats import Timestamp
from netstacks.permissions import ALL, SYNONYMS, Reach, Role
from netstacks.store import access, audit, devices, roles, users
from netstacks.store.access import WITHDRAWN
from netstacks.store.pool import Transaction
from netstacks.store.roles import StoredRole
from netstacks.web.auth import guard
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Description
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("roles", __name__)

_PATH = "/api/v1/roles"
_MOST = 200

Site = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class RoleChange(BaseModel):
    """What a role permits, as a whole. `version` is the one that the change is based on."""

    description: Description = ""
    permissions: list[Annotated[str, StringConstraints(max_length=80)]] = Field(max_length=_MOST)
    device_tags: list[str] = Field(default_factory=list, max_length=_MOST)
    device_sites: list[Site] = Field(default_factory=list, max_length=_MOST)
    version: int


class NewRole(RoleChange):
    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
    version: int = 1


class Version(BaseModel):
    version: int


class PermissionJson(TypedDict):
    name: str
    """Such as `devices.manage`."""
    resource: str
    purpose: str
    """What it permits, in words."""


class Permissions(TypedDict):
    items: list[PermissionJson]
    synonyms: dict[str, str]
    """Other names of permissions, with ours."""


class RoleJson(TypedDict):
    name: str
    description: str
    permissions: list[str]
    device_tags: list[str]
    """Its users may use devices with one of these tags, or at one of the sites; all when both lists are empty."""
    device_sites: list[str]
    is_builtin: bool
    version: int
    """It grows with each change."""
    created_at: Timestamp
    created_by: str | None
    updated_at: Timestamp
    updated_by: str | None
    users: int
    """How many users have it."""
    may_change: bool
    """Whether the user of the request has all that it has, and so may change and give it."""


class Roles(TypedDict):
    items: list[RoleJson]


@blueprint.get("/api/v1/permissions")
@guard.requires("users.manage")
def list_permissions() -> Permissions:
    """The permissions, each with its purpose, and the other names under which roles may name some."""
    return {
        "items": [
            {"name": name, "resource": name.partition(".")[0], "purpose": text} for name, text in PURPOSES.items()
        ],
        "synonyms": SYNONYMS,
    }


@blueprint.get(_PATH)
@guard.requires("users.manage")
def list_roles() -> Roles:
    with services().database.transaction() as tx:
        return {"items": [_as_json(each) for each in roles.list_all(tx)]}


@blueprint.get(f"{_PATH}/<name>")
@guard.requires("users.manage")
def get_role(name: str) -> RoleJson:
    with services().database.transaction() as tx:
        return _as_json(roles.get(tx, name))


@blueprint.post(_PATH)
@guard.requires("roles.manage")
@takes_body(NewRole)
@answers(201)
def create_role(body: NewRole) -> tuple[RoleJson, int]:
    role = _role(body.name, body)
    with _administration() as tx:
        guard.check_gives(role)
        stored = roles.create(tx, role, description=body.description or "", by=guard.identity().username)
        audit.append(tx, guard.actor(), "role.created", f"role:{stored.name}", **_details(stored))
    return _as_json(stored), 201


@blueprint.put(f"{_PATH}/<name>")
@guard.requires("roles.manage")
@takes_body(RoleChange)
def update_role(body: RoleChange, name: str) -> RoleJson:
    """Changes what a role permits. Terminals of users who may not have them any more end, on all instances."""
    role = _role(name, body)
    with _administration() as tx:
        old = roles.get(tx, name)
        guard.check_gives(old.role)
        guard.check_gives(role)
        by, description = guard.identity().username, body.description or ""
        new = roles.update(tx, role, description=description, by=by, version=body.version)
        users.check_administrators(tx)
        end_sessions_beyond(tx, role)
        audit.append(tx, guard.actor(), "role.updated", f"role:{name}", changes=changes(old, new))
    services().withdrawals.role_changed(name)
    return _as_json(new)


@blueprint.delete(f"{_PATH}/<name>")
@guard.requires("roles.manage")
@takes_query(Version)
@answers(204)
def delete_role(query: Version, name: str) -> Response:
    """Deletes a role that no user has."""
    version = query.version
    with _administration() as tx:
        guard.check_gives(roles.get(tx, name).role)
        roles.delete(tx, name, version=version)
        audit.append(tx, guard.actor(), "role.deleted", f"role:{name}")
    services().withdrawals.role_changed(name)
    return Response(status=204)


def end_sessions_beyond(tx: Transaction, role: Role) -> None:
    """Ends the sessions that users of the role may not have any more; their owners are told after the commit."""
    for session_id in roles.end_sessions_beyond(tx, role, WITHDRAWN):
        audit.append(tx, guard.actor(), "session.ended_by_user", f"session:{session_id}", reason=WITHDRAWN)


@contextmanager
def _administration() -> Iterator[Transaction]:
    """A transaction that changes roles: it waits for those that have confirmed the access of a user."""
    with services().database.transaction() as tx:
        access.lock_administration(tx)
        guard.confirm(tx)
        access.lock_roles(tx)
        yield tx


def _role(name: str, body: RoleChange) -> Role:
    permissions = frozenset(_known(each.strip()) for each in body.permissions)
    try:
        tags = devices.normal_tags(body.device_tags)
    except InvalidInput as error:
        raise InvalidInput(f"device_{error}") from error
    return Role(name, permissions, Reach(frozenset(tags), frozenset(body.device_sites)))


def _known(permission: str) -> str:
    """The permission under our name. Raises InvalidInput for an unknown one, with the names that are near."""
    permission = SYNONYMS.get(permission, permission)
    known = {ALL, *PURPOSES, *(f"{name.partition('.')[0]}.*" for name in PURPOSES)}
    if permission in known:
        return permission
    near = difflib.get_close_matches(permission, sorted(known - {ALL}), n=3, cutoff=0.5)
    hint = f" Near it are {', '.join(near)}." if near else ""
    raise InvalidInput(f"permissions: there is no permission {permission[:80]!r}.{hint}")


def _details(stored: StoredRole) -> dict[str, Any]:
    return {
        "permissions": stored.permissions,
        "device_tags": stored.device_tags,
        "device_sites": stored.device_sites,
    }


def _as_json(stored: StoredRole) -> RoleJson:
    """A role; `may_change` tells whether the user of the request has all that it has, and so may change and give it."""
    return {
        "name": stored.name,
        "description": stored.description,
        "permissions": stored.permissions,
        "device_tags": stored.device_tags,
        "device_sites": stored.device_sites,
        "is_builtin": stored.is_builtin,
        "version": stored.version,
        "created_at": timestamp(stored.created_at),
        "created_by": stored.created_by,
        "updated_at": timestamp(stored.updated_at),
        "updated_by": stored.updated_by,
        "users": stored.users,
        "may_change": guard.identity().as_role.covers(stored.role),
    }
