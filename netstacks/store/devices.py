"""The devices that users connect to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.rows import kwargs_row

from netstacks.encodings import normal_encoding
from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host, searched_host
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("devices")

# The weakest cryptography that is allowed with a device.
Algorithms = Literal["modern", "legacy", "antique"]


@dataclass(frozen=True)
class Device:
    """A device as stored.

    `encoding` is the character encoding of its terminals. `lines` is the number of its vty lines, None for no limit.
    `patience_secs` is the timeout of each step of a log-in, None for the default.
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
        """Whether algorithms other than modern ones are allowed."""
        return self.algorithms != "modern"


_KNOWN = [field.name for field in fields(Device)]


def _as_stored(**columns: Any) -> Device:
    values = {name: columns[name] for name in _KNOWN}
    # An instance of the former version writes the older column only: where the two contradict, the older column is
    # newer information.
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
    """Raises InvalidInput for a host that is neither a name nor an address, or an encoding unusable for terminals."""
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


def lock(tx: Transaction, device_id: UUID) -> Device:
    """The device, with its row locked until the transaction ends; raises NotFound."""
    device = _one(tx, "lock", id=device_id)
    if device is None:
        raise NotFound("there is no such device")
    return device


def update(tx: Transaction, old: Device, changes: Mapping[str, Any]) -> Device:
    """Changes the members named in `changes`; raises InvalidInput as `create` does."""
    new = replace(old, **changes)
    host, encoding = normal_host(new.host), normal_encoding(new.encoding)
    device = _one(tx, "update", **asdict(replace(new, host=host, encoding=encoding)))
    assert device is not None
    return device


def delete(tx: Transaction, device: Device) -> None:
    """Its live sessions continue."""
    tx.execute(_SQL["delete"], {"id": device.id})


def live_sessions(tx: Transaction, device_id: UUID) -> int:
    """The number of sessions on the device that have not ended."""
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
    """A page of devices by name, and the total number; `search` is a substring of the name or the host."""
    filters = {
        "search": search,
        "search_host": search and searched_host(search),
        "source": source,
        "device_type": device_type,
        "site": site,
    }
    with tx.cursor(row_factory=_ROW) as cursor:
        page = cursor.execute(_SQL["list_page"], {**filters, "limit": limit, "offset": offset}).fetchall()
    row = tx.execute(_SQL["count"], filters).fetchone()
    assert row is not None
    return page, int(row["total"])


def starting_with(tx: Transaction, text: str, *, limit: int) -> list[Device]:
    """Devices whose name or host begins with `text`, ignoring case; exact matches come first."""
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
