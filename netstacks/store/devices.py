"""The devices that users connect to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.errors import NotFound
from netstacks.store.addresses import normal_host
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("devices")


@dataclass(frozen=True)
class Device:
    """A device as stored; `legacy_algorithms` lets it be spoken to with the algorithms of old network gear."""

    id: UUID
    name: str
    host: str
    port: int
    device_type: str
    manufacturer: str | None
    model: str | None
    site: str | None
    description: str | None
    source: str
    legacy_algorithms: bool
    default_credential_id: UUID | None
    created_at: datetime
    updated_at: datetime


def create(
    tx: Transaction,
    *,
    name: str,
    host: str,
    port: int = 22,
    device_type: str = "",
    manufacturer: str | None = None,
    model: str | None = None,
    site: str | None = None,
    description: str | None = None,
    source: str = "manual",
    legacy_algorithms: bool = False,
    default_credential_id: UUID | None = None,
) -> Device:
    """Raises InvalidInput for a host that is neither a name nor an address."""
    device = _one(
        tx,
        "create",
        id=uuid4(),
        name=name,
        host=normal_host(host),
        port=port,
        device_type=device_type,
        manufacturer=manufacturer,
        model=model,
        site=site,
        description=description,
        source=source,
        legacy_algorithms=legacy_algorithms,
        default_credential_id=default_credential_id,
    )
    assert device is not None
    return device


def find(tx: Transaction, device_id: UUID) -> Device | None:
    return _one(tx, "find", id=device_id)


def find_by_address(tx: Transaction, host: str, port: int) -> Device | None:
    """The device at that address, the oldest entry if there are several."""
    return _one(tx, "find_by_address", host=normal_host(host), port=port)


def hold(tx: Transaction, device_id: UUID) -> Device:
    """The device, unchanged by others until the transaction ends; raises NotFound."""
    device = _one(tx, "hold", id=device_id)
    if device is None:
        raise NotFound("there is no such device")
    return device


def update(tx: Transaction, old: Device, changes: Mapping[str, Any]) -> Device:
    """Changes the members named in `changes`; raises InvalidInput as `create` does."""
    wished = replace(old, **changes)
    device = _one(tx, "update", **asdict(replace(wished, host=normal_host(wished.host))))
    assert device is not None
    return device


def delete(tx: Transaction, device: Device) -> None:
    """Sessions on it go on."""
    tx.execute(_SQL["delete"], {"id": device.id})


def live_sessions(tx: Transaction, device_id: UUID) -> int:
    """How many sessions on the device have not ended."""
    row = tx.execute(_SQL["live_sessions"], {"id": device_id}).fetchone()
    assert row is not None
    return int(row["sessions"])


def browse(
    tx: Transaction,
    *,
    search: str | None = None,
    source: str | None = None,
    device_type: str | None = None,
    site: str | None = None,
    limit: int = 1000,
    offset: int = 0,
) -> tuple[list[Device], int]:
    """A page of devices by name, and how many there are in all; `search` is a part of the name or the host."""
    filters = {"search": search, "source": source, "device_type": device_type, "site": site}
    with tx.cursor(row_factory=row_of(Device)) as cursor:
        page = cursor.execute(_SQL["browse"], {**filters, "limit": limit, "offset": offset}).fetchall()
    row = tx.execute(_SQL["count"], filters).fetchone()
    assert row is not None
    return page, int(row["total"])


def _one(tx: Transaction, statement: str, **parameters: Any) -> Device | None:
    with tx.cursor(row_factory=row_of(Device)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchone()
