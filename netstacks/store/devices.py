"""The devices that users connect to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.rows import kwargs_row

from netstacks.encodings import normal_encoding
from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host, searched_host
from netstacks.permissions import Reach
from netstacks.store import versions
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("devices")

_MAX_TAGS, _MAX_TAG_CHARS = 20, 40

# The weakest cryptography that is allowed with a device.
Algorithms = Literal["modern", "legacy", "antique"]
# The outcome of the last contact with a device: see store/device_contacts.py.
Contact = Literal["reached", "refused", "host_key", "unreachable"]


@dataclass(frozen=True)
class Device:
    """A device as stored.

    `encoding` is the character encoding of its terminals. `lines` is the number of its vty lines, None for no limit.
    `patience_secs` is the timeout of each step of a log-in, None for the default. `contact` is None before the first
    contact; `session_at` is when a log-in has last succeeded. `version` counts the changes,
    and `updated_by` names the user of the last change.
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
    tags: tuple[str, ...]
    contact: Contact | None
    contact_at: datetime | None
    contact_reason: str | None
    contact_by: str | None
    session_at: datetime | None
    version: int
    updated_by: str | None

    @property
    def legacy_algorithms(self) -> bool:
        """Whether algorithms other than modern ones are allowed."""
        return self.algorithms != "modern"


_KNOWN = [field.name for field in fields(Device)]


def as_stored(**columns: Any) -> Device:
    """The device of a row with all columns of devices."""
    values = {name: columns[name] for name in _KNOWN}
    # An instance of the former version writes the older column only: where the two contradict, the older column is
    # newer information.
    if columns["legacy_algorithms"] != (values["algorithms"] != "modern"):
        values["algorithms"] = "antique" if columns["legacy_algorithms"] else "modern"
    # An array that this program has not written may be nested, or contain nulls.
    values["tags"] = tuple(tag for tag in values["tags"] if isinstance(tag, str))
    return Device(**values)


ROW = kwargs_row(as_stored)
"""The row factory of statements that select all columns of devices."""


def normal_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags without surrounding spaces, each once, in the given order. Raises InvalidInput."""
    normal = tuple(dict.fromkeys(tag.strip() for tag in tags))
    for tag in normal:
        if not tag or len(tag) > _MAX_TAG_CHARS:
            raise InvalidInput(f"tags: each must have 1 to {_MAX_TAG_CHARS} characters")
        if not tag.isprintable() or "," in tag:
            raise InvalidInput(f"tags: {tag!r} must contain neither control characters nor commas")
    if len(normal) > _MAX_TAGS:
        raise InvalidInput(f"tags: a device must not have more than {_MAX_TAGS}")
    return normal


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
    tags: Iterable[str] = (),
) -> Device:
    """Raises InvalidInput for a host that is neither a name nor an address, an unusable encoding, or wrong tags."""
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
        tags=list(normal_tags(tags)),
    )
    assert device is not None
    return device


def find(tx: Transaction, device_id: UUID, *, within: Reach) -> Device | None:
    """The device; as everywhere here, one that is not `within` the reach of the user's role does not exist."""
    return _one(tx, "find", id=device_id, **within_of(within))


def find_by_address(tx: Transaction, host: str, port: int, *, within: Reach) -> Device | None:
    """The device at that address, the oldest entry if there are several."""
    return _one(tx, "find_by_address", host=normal_host(host), port=port, **within_of(within))


def lock(tx: Transaction, device_id: UUID, *, within: Reach) -> Device:
    """The device, with its row locked until the transaction ends; raises NotFound."""
    device = _one(tx, "lock", id=device_id, **within_of(within))
    if device is None:
        raise NotFound("there is no such device")
    return device


def update(tx: Transaction, old: Device, changes: Mapping[str, Any], *, by: str, seen: int | None = None) -> Device:
    """Changes the members named in `changes` of a locked device.

    Raises InvalidInput as `create` does, and ChangedMeanwhile as `versions.check` does.
    """
    versions.check(f"the device {old.name}", old.version, old.updated_by, seen=seen)
    device = _one(tx, "update", **parameters_of(changed(old, changes), by=by))
    assert device is not None
    return device


def changed(old: Device, changes: Mapping[str, Any]) -> Device:
    """The device as it is with `changes`, in the form in which it is stored. Raises InvalidInput as `create` does."""
    new = replace(old, **changes)
    return replace(new, host=normal_host(new.host), encoding=normal_encoding(new.encoding), tags=normal_tags(new.tags))


def parameters_of(device: Device, *, by: str | None = None) -> dict[str, Any]:
    """The parameters of the statements `create` and `update`; `by` is the user who changes the device."""
    return {**vars(device), "tags": list(device.tags), "updated_by": by}


def check_within(device: Device, reach: Reach) -> None:
    """Raises InvalidInput when a device, as it was created or changed, is not within the reach of the user's role."""
    if not reach.includes(device.tags, device.site):
        raise InvalidInput(f"{device.name} must have one of the tags of your role, or be at one of its sites")


def within_of(reach: Reach) -> dict[str, Any]:
    """The parameters of the condition of statements on devices that are within a reach."""
    return {"limited": reach.is_limited, "reach_tags": list(reach.tags), "reach_sites": list(reach.sites)}


def delete(tx: Transaction, device: Device, *, seen: int | None = None) -> None:
    """Its live sessions continue. Raises ChangedMeanwhile as `versions.check` does."""
    versions.check(f"the device {device.name}", device.version, device.updated_by, seen=seen)
    tx.execute(_SQL["delete"], {"id": device.id})


def live_sessions(tx: Transaction, device_id: UUID) -> int:
    """The number of sessions on the device that have not ended."""
    row = tx.execute(_SQL["live_sessions"], {"id": device_id}).fetchone()
    assert row is not None
    return int(row["sessions"])


def places(tx: Transaction, device_ids: Sequence[UUID]) -> dict[UUID, tuple[Sequence[str], str | None]]:
    """Tags and site of each of the devices; those that do not exist are left out."""
    rows = tx.execute(_SQL["places"], {"ids": list(device_ids)}).fetchall()
    return {row["id"]: (row["tags"], row["site"]) for row in rows}


def list_page(
    tx: Transaction,
    *,
    within: Reach,
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
        **within_of(within),
    }
    with tx.cursor(row_factory=ROW) as cursor:
        page = cursor.execute(_SQL["list_page"], {**filters, "limit": limit, "offset": offset}).fetchall()
    row = tx.execute(_SQL["count"], filters).fetchone()
    assert row is not None
    return page, int(row["total"])


def starting_with(tx: Transaction, text: str, *, within: Reach, limit: int) -> list[Device]:
    """Devices whose name or host begins with `text`, ignoring case; exact matches come first."""
    with tx.cursor(row_factory=ROW) as cursor:
        values = {"text": text, "host": _beginning_of_host(text), "limit": limit, **within_of(within)}
        return cursor.execute(_SQL["starting_with"], values).fetchall()


def _beginning_of_host(text: str) -> str:
    try:
        return normal_host(text)
    except InvalidInput:
        return searched_host(text)


def _one(tx: Transaction, statement: str, **parameters: Any) -> Device | None:
    with tx.cursor(row_factory=ROW) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchone()
