"""Lists of approved host keys with the devices that they belong to, and of the prompts that wait for an answer."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import kwargs_row

from netstacks.hosts import searched_host
from netstacks.permissions import Reach
from netstacks.store import devices
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.pool import Transaction
from netstacks.store.prompts import ANSWER_SECS, Prompt
from netstacks.store.queries import all_of, load

_SQL = load("host_key_lists")

_KEY = [field.name for field in fields(StoredHostKey)]
_PROMPT = [field.name for field in fields(Prompt)]


@dataclass(frozen=True)
class ListedKey:
    """An approved key and the names of the devices at its address.

    `mismatch_at` is when a device at that address has presented another key since the approval, None if it has not.
    """

    key: StoredHostKey
    devices: list[str]
    mismatch_at: datetime | None


@dataclass(frozen=True)
class WaitingPrompt:
    """An open prompt, the user whose connection waits for it, and a device at its address."""

    prompt: Prompt
    username: str | None
    device: str | None


def page(
    tx: Transaction,
    *,
    within: Reach,
    search: str | None = None,
    after: tuple[str, int] | None = None,
    limit: int = 100,
) -> list[ListedKey]:
    """Keys by address, behind the address `after`; of a limited reach only those of the devices in it.

    `search` is a part of the address, of a device's name, of the public key, or of the name of the approving user.
    """
    conditions: list[sql.Composable] = []
    values: dict[str, Any] = {"limit": limit, **devices.within_of(within)}
    if search is not None:
        conditions.append(sql.SQL(_SQL["with_search"]))
        values |= {"search": search, "search_host": searched_host(search)}
    if within.is_limited:
        conditions.append(sql.SQL(_SQL["within_reach"]))
    if after is not None:
        conditions.append(sql.SQL(_SQL["after"]))
        values |= {"after_host": after[0], "after_port": after[1]}
    with tx.cursor(row_factory=kwargs_row(_listed)) as cursor:
        return cursor.execute(sql.SQL(_SQL["page"]).format(conditions=all_of(conditions)), values).fetchall()


def waiting(tx: Transaction, *, within: Reach) -> list[WaitingPrompt]:
    """The open prompts of all users, oldest first; of a limited reach only those for its devices."""
    with tx.cursor(row_factory=kwargs_row(_waiting)) as cursor:
        return cursor.execute(_SQL["prompts"], {"ttl_secs": ANSWER_SECS, **devices.within_of(within)}).fetchall()


def _listed(**row: Any) -> ListedKey:
    return ListedKey(StoredHostKey(**{name: row[name] for name in _KEY}), row["devices"], row["mismatch_at"])


def _waiting(**row: Any) -> WaitingPrompt:
    return WaitingPrompt(Prompt(**{name: row[name] for name in _PROMPT}), row["username"], row["device"])
