"""Changes of many devices in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks import greenlets
from netstacks.store import devices
from netstacks.store.audit import Actor
from netstacks.store.devices import Device
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("device_changes")
_DEVICES = load("devices")

_PART = 500
# An arbitrary advisory lock key. Two imports at the same time could add one device twice.
_IMPORT_LOCK = 0x6E657464


def serialise_imports(tx: Transaction) -> None:
    """Makes other imports wait until this transaction ends."""
    tx.execute(_SQL["serialise"], {"key": _IMPORT_LOCK})


@dataclass(frozen=True)
class Keys:
    """Ids of devices, names in lower case, and hosts. A device matches if it has one of them."""

    ids: list[UUID]
    names: list[str]
    hosts: list[str]


def matching(tx: Transaction, keys: Keys) -> list[Device]:
    """The devices that match, by id."""
    with tx.cursor(row_factory=devices.ROW) as cursor:
        return cursor.execute(_SQL["matching"], asdict(keys)).fetchall()


def lock_matching(tx: Transaction, keys: Keys) -> list[tuple[UUID, datetime]]:
    """Id and `updated_at` of the devices that match, by id; they stay locked until the transaction ends."""
    return [(row["id"], row["updated_at"]) for row in tx.execute(_SQL["lock_matching"], asdict(keys))]


def blank(name: str, host: str) -> Device:
    """A device that is not stored yet, with the default of each other member."""
    now = datetime.now(UTC)
    return Device(
        id=uuid4(),
        name=name,
        host=host,
        port=22,
        device_type="",
        manufacturer=None,
        model=None,
        site=None,
        description=None,
        source="import",
        algorithms="modern",
        encoding="utf-8",
        lines=None,
        patience_secs=None,
        default_credential_id=None,
        created_at=now,
        updated_at=now,
        tags=(),
        contact=None,
        contact_at=None,
        contact_reason=None,
        contact_by=None,
        session_at=None,
        version=1,
        updated_by=None,
    )


def create_all(tx: Transaction, new: Sequence[Device]) -> None:
    """Stores devices in the form of `devices.changed`."""
    _execute_all(tx, "create", new, by=None)


def update_all(tx: Transaction, new: Sequence[Device], *, by: str) -> None:
    """Stores the members of existing devices, in the form of `devices.changed`, as changes of the user `by`."""
    _execute_all(tx, "update", new, by=by)


def _execute_all(tx: Transaction, statement: str, new: Sequence[Device], *, by: str | None) -> None:
    # In parts: the driver prepares all that it is given before it sends the first of it, and PostgreSQL ends a
    # transaction that is idle for seconds.
    for first in range(0, len(new), _PART):
        part = [devices.parameters_of(device, by=by) for device in new[first : first + _PART]]
        with tx.cursor() as cursor:
            cursor.executemany(_DEVICES[statement], part)
        greenlets.give_way()


def delete_all(tx: Transaction, ids: Sequence[UUID]) -> None:
    """Their live sessions continue."""
    tx.execute(_SQL["delete_all"], {"ids": list(ids)})


@dataclass(frozen=True)
class Edited:
    """A device as changed by a change of many devices: its version after the change, and its values before it."""

    id: UUID
    name: str
    version: int
    former: Mapping[str, Any]


def edited(tx: Transaction, by: Actor, edit_id: UUID) -> list[Edited]:
    """The devices that an edit of this user has changed within the last day, from the audit log."""
    rows = tx.execute(_SQL["edited"], {"actor": by.name, "actor_id": by.id, "edit_id": str(edit_id)}).fetchall()
    return [
        Edited(
            id=UUID(row["resource"].removeprefix("device:")),
            name=row["details"]["name"],
            version=row["details"]["version"],
            former={name: before for name, (before, _) in row["details"]["changes"].items()},
        )
        for row in rows
    ]


def live_sessions(tx: Transaction, ids: Sequence[UUID]) -> int:
    """The number of sessions on the devices that have not ended."""
    row = tx.execute(_SQL["live_sessions"], {"ids": list(ids)}).fetchone()
    assert row is not None
    return int(row["sessions"])
