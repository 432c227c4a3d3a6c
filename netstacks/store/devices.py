"""The devices that users connect to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.rows import kwargs_row

from netstacks.errors import InvalidInput, NotFound
from netstacks.store.addresses import normal_host, searched_host
from netstacks.store.encodings import normal_encoding
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("devices")

# The level of cryptography that may be used with a device.
Algorithms = Literal["modern", "legacy", "antique"]


@dataclass(frozen=True)
class Device:
    """A device as stored.

    `encoding` is the character set of its terminals. `lines` is how many terminals it has, None when that is no limit.
    `patience_secs` is how long each step of a log-in may take, None for the default.
    """

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
    algorithms: Algorithms
    encoding: str
    lines: int | None
    patience_secs: int | None
    default_credential_id: UUID | None
    created_at: datetime
    updated_at: datetime

    @property
    def legacy_algorithms(self) -> bool:
        """Whether algorithms are allowed that are not modern."""
        return self.algorithms != "modern"


_KNOWN = [field.name for field in fields(Device)]


def _as_stored(**columns: Any) -> Device:
    values = {name: columns[name] for name in _KNOWN}
    # An instance of the former version knows the older column alone: where the two contradict, that one is newer.
    if columns["legacy_algorithms"] != (values["algorithms"] != "modern"):
        values["algorithms"] = "antique" if columns["legacy_algorithms"] else "modern"
    return Device(**values)


_ROW = kwargs_row(_as_stored)


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
    algorithms: Algorithms = "modern",
    encoding: str = "utf-8",
    lines: int | None = None,
    patience_secs: int | None = None,
    default_credential_id: UUID | None = None,
) -> Device:
    """Raises InvalidInput for a host that is neither a name nor an address, or an encoding unfit for terminals."""
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
        algorithms=algorithms,
        encoding=normal_encoding(encoding),
        lines=lines,
        patience_secs=patience_secs,
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
    host, encoding = normal_host(wished.host), normal_encoding(wished.encoding)
    device = _one(tx, "update", **asdict(replace(wished, host=host, encoding=encoding)))
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


def list_page(
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
    filters = {
        "search": search,
        "search_host": search and searched_host(search),
        "source": source,
        "device_type": device_type,
        "site": site,
    }
    with tx.cursor(row_factory=_ROW) as cursor:
        page = cursor.execute(_SQL["browse"], {**filters, "limit": limit, "offset": offset}).fetchall()
    row = tx.execute(_SQL["count"], filters).fetchone()
    assert row is not None
    return page, int(row["total"])


def starting_with(tx: Transaction, text: str, *, limit: int) -> list[Device]:
    """Devices whose name or host begins with `text`, in any case; those that it names in full come first."""
    with tx.cursor(row_factory=_ROW) as cursor:
        values = {"text": text, "host": _beginning_of_host(text), "limit": limit}
        return cursor.execute(_SQL["starting_with"], values).fetchall()


def _beginning_of_host(text: str) -> str:
    try:
        return normal_host(text)
    except InvalidInput:
        return searched_host(text)


def _one(tx: Transaction, statement: str, **parameters: Any) -> Device | None:
    with tx.cursor(row_factory=_ROW) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchone()
