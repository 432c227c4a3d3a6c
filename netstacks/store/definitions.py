"""Session definitions: named addresses with a credential of choice, and where each user has filed them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.errors import NotFound
from netstacks.store.addresses import normal_host
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
    """Where one user has filed a definition; no folder means the top."""

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
    return hold(tx, definition_id)


def find(tx: Transaction, definition_id: UUID) -> Definition | None:
    return next(iter(_all(tx, "find", id=definition_id)), None)


def hold(tx: Transaction, definition_id: UUID) -> Definition:
    """The definition, unchanged by others until the transaction ends; raises NotFound."""
    for definition in _all(tx, "hold", id=definition_id):
        return definition
    raise NotFound("there is no such session definition")


def list_all(tx: Transaction) -> list[Definition]:
    """All definitions by name."""
    return _all(tx, "all")


def live_connections(tx: Transaction) -> dict[tuple[str, int], int]:
    """How many live sessions there are at each address, host and port, that has any."""
    rows = tx.execute(_SQL["live_connections"]).fetchall()
    return {(row["host"], row["port"]): row["sessions"] for row in rows}


def update(tx: Transaction, old: Definition, changes: Mapping[str, Any]) -> Definition:
    """Changes the members named in `changes`; raises InvalidInput as `create` does."""
    wished = replace(old, **changes)
    tx.execute(_SQL["update"], {**asdict(wished), "host": normal_host(wished.host)})
    return hold(tx, old.id)


def delete(tx: Transaction, definition: Definition) -> None:
    """Takes it out of every user's folders too."""
    tx.execute(_SQL["delete"], {"id": definition.id})


def assign(
    tx: Transaction, user_id: UUID, definition_id: UUID, folder_id: UUID | None, sort_order: int | None
) -> Assignment:
    """Files a definition in a folder of the user's, or at the top; an absent `sort_order` stays what it was."""
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
