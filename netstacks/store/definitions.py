"""Session definitions: named addresses with an optional credential, and the folder of each user they are in."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.errors import NotFound
from netstacks.hosts import normal_host
from netstacks.permissions import EVERYWHERE, Reach
from netstacks.store.devices import within_of
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("definitions")


@dataclass(frozen=True)
class Definition:
    """A session definition; `active_connections` counts the live sessions at its address."""

    id: UUID
    name: str
    host: str
    port: int
    description: str | None
    credential_override_id: UUID | None
    cli_flavor: str
    tags: list[str]
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    active_connections: int


@dataclass(frozen=True)
class Assignment:
    """The folder of one user that a definition is in; no folder means the top level."""

    id: UUID
    user_id: UUID
    definition_id: UUID
    folder_id: UUID | None
    sort_order: int
    created_at: datetime


def create(
    tx: Transaction,
    *,
    name: str,
    host: str,
    created_by: UUID,
    port: int = 22,
    description: str | None = None,
    credential_override_id: UUID | None = None,
    cli_flavor: str = "auto",
    tags: list[str] | None = None,
) -> Definition:
    """Raises InvalidInput for a host that is neither a name nor an address."""
    definition_id = uuid4()
    values = {
        "id": definition_id,
        "name": name,
        "host": normal_host(host),
        "port": port,
        "description": description,
        "credential_override_id": credential_override_id,
        "cli_flavor": cli_flavor,
        "tags": tags or [],
        "created_by": created_by,
    }
    tx.execute(_SQL["create"], values)
    return lock(tx, definition_id, within=EVERYWHERE)


def find(tx: Transaction, definition_id: UUID, *, within: Reach) -> Definition | None:
    """The definition; as everywhere here, one for an address without a device `within` the reach does not exist."""
    return next(iter(_all(tx, "find", id=definition_id, **within_of(within))), None)


def lock(tx: Transaction, definition_id: UUID, *, within: Reach) -> Definition:
    """The definition, with its row locked until the transaction ends; raises NotFound."""
    for definition in _all(tx, "lock", id=definition_id, **within_of(within)):
        return definition
    raise NotFound("there is no such session definition")


def list_all(tx: Transaction, *, within: Reach) -> list[Definition]:
    """The definitions by name."""
    return _all(tx, "all", **within_of(within))


def live_connections(tx: Transaction) -> dict[tuple[str, int], int]:
    """The number of live sessions by address (host, port). Addresses without one are absent."""
    rows = tx.execute(_SQL["live_connections"]).fetchall()
    return {(row["host"], row["port"]): row["sessions"] for row in rows}


def update(tx: Transaction, old: Definition, changes: Mapping[str, Any]) -> Definition:
    """Changes the members named in `changes`; raises InvalidInput as `create` does."""
    new = replace(old, **changes)
    tx.execute(_SQL["update"], {**asdict(new), "host": normal_host(new.host)})
    return lock(tx, old.id, within=EVERYWHERE)


def delete(tx: Transaction, definition: Definition) -> None:
    """Also removes it from every user's folders."""
    tx.execute(_SQL["delete"], {"id": definition.id})


def assign(
    tx: Transaction, user_id: UUID, definition_id: UUID, folder_id: UUID | None, sort_order: int | None
) -> Assignment:
    """Moves a definition into a folder of the user, or to the top level; a `sort_order` of None is unchanged."""
    values = {
        "id": uuid4(),
        "user_id": user_id,
        "definition_id": definition_id,
        "folder_id": folder_id,
        "sort_order": sort_order,
    }
    with tx.cursor(row_factory=row_of(Assignment)) as cursor:
        return cursor.execute(_SQL["assign"], values).fetchone()  # type: ignore[return-value]


def assignments(tx: Transaction, user_id: UUID) -> list[Assignment]:
    with tx.cursor(row_factory=row_of(Assignment)) as cursor:
        return cursor.execute(_SQL["assignments"], {"user_id": user_id}).fetchall()


def _all(tx: Transaction, statement: str, **parameters: Any) -> list[Definition]:
    with tx.cursor(row_factory=row_of(Definition)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchall()
