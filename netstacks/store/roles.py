"""Roles: the built-in ones, and those that administrators define."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import kwargs_row

from netstacks import permissions
from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.permissions import Reach, Role
from netstacks.store import devices, versions
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("roles")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class StoredRole:
    """A role as administrators see it. `version` grows with each change; `users` is how many users have it."""

    name: str
    description: str
    permissions: list[str]
    device_tags: list[str]
    device_sites: list[str]
    is_builtin: bool
    version: int
    created_at: datetime
    created_by: str | None
    updated_at: datetime
    updated_by: str | None
    users: int

    @property
    def role(self) -> Role:
        """What the role permits."""
        reach = Reach(frozenset(self.device_tags), frozenset(self.device_sites))
        return Role(self.name, frozenset(self.permissions), reach)


_COLUMNS = [field.name for field in fields(StoredRole)]


def role_of_row(row: dict[str, Any]) -> Role:
    """The role in a row with its `name`, `permissions`, `device_tags` and `device_sites`."""
    if row["name"] in permissions.PRESETS:
        return permissions.preset(row["name"])
    reach = Reach(frozenset(_texts(row["device_tags"])), frozenset(_texts(row["device_sites"])))
    return Role(row["name"], frozenset(_texts(row["permissions"])), reach)


def _texts(array: list[Any]) -> list[str]:
    """An array that this program has not written may be nested, or contain nulls.

    Such members are not permissions. As a tag or a site they match no device: a scope never becomes all devices.
    """
    return [each if isinstance(each, str) else "(unreadable)" for each in array]


def _stored(**row: Any) -> StoredRole:
    values = {name: row[name] for name in _COLUMNS}
    return StoredRole(**values | {name: _texts(row[name]) for name in ("permissions", "device_tags", "device_sites")})


_ROW = kwargs_row(_stored)


def role_named(tx: Transaction, name: str) -> Role:
    """What the role of that name permits: nothing if there is none. Presets need no query, because they are fixed."""
    if name in permissions.PRESETS:
        return permissions.preset(name)
    row = tx.execute(_SQL["permits"], {"name": name}).fetchone()
    return role_of_row(row) if row else Role(name, frozenset())


def list_all(tx: Transaction) -> list[StoredRole]:
    """The built-in roles, then the others by name."""
    with tx.cursor(row_factory=_ROW) as cursor:
        return cursor.execute(_SQL["all"]).fetchall()


def get(tx: Transaction, name: str) -> StoredRole:
    """Raises NotFound."""
    with tx.cursor(row_factory=_ROW) as cursor:
        found = cursor.execute(_SQL["get"], {"name": name}).fetchone()
    if found is None:
        raise NotFound(f"there is no role {name}")
    return found


def check_known(tx: Transaction, names: Sequence[str]) -> None:
    """Raises InvalidInput for the first name that no role has. The roles stay until the transaction ends."""
    known = {row["name"] for row in tx.execute(_SQL["lock"], {"names": list(names)}).fetchall()}
    for name in names:
        if name not in known:
            raise InvalidInput(f"there is no role {name}")


def create(tx: Transaction, role: Role, *, description: str, by: str) -> StoredRole:
    """Raises InvalidInput for an invalid name, Conflict when the name is taken."""
    if not _NAME.fullmatch(role.name):
        raise InvalidInput("name: must be 1 to 40 small letters, digits or any of _ -, and begin with neither _ nor -")
    if not tx.execute(_SQL["insert"], _values(role, description, by)).rowcount:
        raise Conflict(f"there is a role {role.name} already")
    return get(tx, role.name)


def update(tx: Transaction, role: Role, *, description: str, by: str, version: int) -> StoredRole:
    """Raises NotFound, and Conflict for a built-in role, or one that is not at `version` any more."""
    _check_changeable(get(tx, role.name), version)
    tx.execute(_SQL["update"], _values(role, description, by))
    return get(tx, role.name)


def delete(tx: Transaction, name: str, *, version: int) -> None:
    """Raises NotFound, and Conflict for a built-in role, one that users have, or one not at `version` any more."""
    stored = get(tx, name)
    _check_changeable(stored, version)
    if stored.users:
        who = "1 user has" if stored.users == 1 else f"{stored.users} users have"
        raise Conflict(f"{who} the role {name}: give them another role first")
    if tx.execute(_SQL["mapped"], {"name": name}).fetchone():
        raise Conflict(f"single sign-on gives the role {name} to users: change that first")
    tx.execute(_SQL["delete"], {"name": name})


def end_sessions_beyond(tx: Transaction, role: Role, reason: str) -> list[UUID]:
    """Ends the sessions that users of the role may not have any more, and returns their ids.

    The end of a session with an owner is requested: the owner stores its recording first, as `sessions.end_all_of`.
    """
    wanted = {
        "role": role.name,
        "connects": role.may("sessions.connect"),
        "reason": reason,
        **devices.within_of(role.reach),
    }
    return [
        row["id"]
        for statement in ("end_unowned_beyond", "request_end_beyond")
        for row in tx.execute(_SQL[statement], wanted)
    ]


def _check_changeable(stored: StoredRole, version: int) -> None:
    if stored.is_builtin:
        raise Conflict(f"{stored.name} is a built-in role, which cannot be changed: create a role of your own")
    versions.check(f"the role {stored.name}", stored.version, stored.updated_by, seen=version)


def _values(role: Role, description: str, by: str) -> dict[str, Any]:
    return {
        "name": role.name,
        "description": description,
        "permissions": sorted(role.permissions),
        "device_tags": sorted(role.reach.tags),
        "device_sites": sorted(role.reach.sites),
        "by": by,
    }
