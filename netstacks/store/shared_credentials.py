"""Where credentials are used: the devices and session definitions that name them, and the last log-in with each."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import kwargs_row

from netstacks.permissions import Reach
from netstacks.store.credentials import Credential
from netstacks.store.devices import within_of
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("shared_credentials")

_CREDENTIAL = [field.name for field in fields(Credential)]


@dataclass(frozen=True)
class LastUse:
    """The last log-in that succeeded with a credential."""

    at: datetime
    username: str
    device_id: UUID | None
    device_name: str


@dataclass(frozen=True)
class SharedCredential:
    """A shared credential, the numbers of devices and session definitions that name it, and its last use if any."""

    credential: Credential
    devices: int
    definitions: int
    last_use: LastUse | None


def list_all(
    tx: Transaction,
    *,
    within: Reach,
    search: str | None = None,
    unused_days: int | None = None,
    never: bool = False,
) -> list[SharedCredential]:
    """The shared credentials by name; `search` is a part of the name or the user name.

    Of a limited reach only those that can be used in it, and of their uses those with its devices.
    `unused_days` leaves out those that were used in that number of days, `never` those that were ever used.
    """
    with tx.cursor(row_factory=kwargs_row(_as_stored)) as cursor:
        values = {"search": search, "unused_days": unused_days, "never": never, **within_of(within)}
        return cursor.execute(_SQL["page"], values).fetchall()


def last_uses(tx: Transaction, user_id: UUID) -> dict[UUID, tuple[datetime, str]]:
    """Of the user's personal credentials: when each was last used, and on which device."""
    rows = tx.execute(_SQL["last_uses"], {"user_id": user_id}).fetchall()
    return {row["credential_id"]: (row["used_at"], row["device_name"]) for row in rows}


def definitions_using(tx: Transaction, credential_id: UUID, *, within: Reach, limit: int) -> list[tuple[UUID, str]]:
    """Id and name of the session definitions `within` a reach that name it."""
    values = {"id": credential_id, "limit": limit, **within_of(within)}
    rows = tx.execute(_SQL["definitions_using"], values).fetchall()
    return [(row["id"], row["name"]) for row in rows]


def _as_stored(**row: Any) -> SharedCredential:
    last_use = None
    if row["used_at"] is not None:
        last_use = LastUse(row["used_at"], row["used_by"], row["used_on_id"], row["used_on"])
    credential = Credential(**{name: row[name] for name in _CREDENTIAL})
    return SharedCredential(credential, row["devices"], row["definitions"], last_use)
