"""Lists of devices: filtered, in several orders, in pages that continue after the last row of the former one."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg import sql
from psycopg.rows import kwargs_row

from netstacks.hosts import searched_host
from netstacks.permissions import Reach
from netstacks.store import devices
from netstacks.store.devices import Device
from netstacks.store.pool import Transaction
from netstacks.store.queries import all_of, load, read_in_order

_SQL = load("device_lists")

Sort = Literal["name", "host", "site", "type", "session", "added"]
Reachability = Literal["reached", "refused", "host_key", "unreachable", "unknown"]
# So many devices are locked at once.
_PART = 500
_TYPES = {"session": "timestamptz", "added": "timestamptz"}


@dataclass(frozen=True)
class Filter:
    """Conditions that a device must all meet; `search` is a substring of the name or the host."""

    search: str | None = None
    site: str | None = None
    device_type: str | None = None
    tag: str | None = None
    reachability: Reachability | None = None
    credential: UUID | None = None


@dataclass(frozen=True)
class Cursor:
    """The last row of a page: the value that it was sorted by, as PostgreSQL writes it, and its id."""

    key: str
    id: UUID


@dataclass(frozen=True)
class Page:
    """Devices, and where the next page begins; None at the end of the list."""

    devices: list[Device]
    next: Cursor | None


def page(
    tx: Transaction,
    wanted: Filter,
    *,
    within: Reach,
    sort: Sort = "name",
    descending: bool = False,
    after: Cursor | None = None,
    limit: int = 100,
) -> Page:
    """The devices behind `after`. PostgreSQL reads about `limit` rows, and those that a filter leaves out."""
    conditions, values = _conditions(wanted, within)
    key = sql.SQL(_SQL[f"by_key_{sort}"])
    if after is not None:
        comparison, kind = sql.SQL("<" if descending else ">"), sql.SQL(_TYPES.get(sort, "text"))
        conditions.append(sql.SQL(_SQL["after"]).format(key=key, comparison=comparison, type=kind))
        values |= {"after_key": after.key, "after_id": after.id}
    if wanted.tag is None and not within.is_limited:
        # A rare tag is found by its own index, and sorted.
        read_in_order(tx)
    direction = sql.SQL("DESC" if descending else "ASC")
    statement = sql.SQL(_SQL["page"]).format(key=key, conditions=all_of(conditions), direction=direction)
    with tx.cursor(row_factory=kwargs_row(_with_key)) as cursor:
        found = cursor.execute(statement, values | {"limit": limit + 1}).fetchall()
    shown = [device for _, device in found[:limit]]
    return Page(shown, Cursor(found[limit - 1][0], shown[-1].id) if len(found) > limit else None)


def count(tx: Transaction, wanted: Filter, *, within: Reach) -> int:
    conditions, values = _conditions(wanted, within)
    row = tx.execute(sql.SQL(_SQL["count"]).format(conditions=all_of(conditions)), values).fetchone()
    assert row is not None
    return int(row["total"])


def ids(tx: Transaction, wanted: Filter, *, within: Reach, limit: int) -> list[UUID]:
    """The ids of the devices that match, at most `limit` of them."""
    conditions, values = _conditions(wanted, within)
    statement = sql.SQL(_SQL["ids"]).format(conditions=all_of(conditions))
    return [row["id"] for row in tx.execute(statement, values | {"limit": limit})]


def lock_all(tx: Transaction, wanted: Collection[UUID], *, within: Reach) -> Iterator[Device]:
    """The devices with these ids, locked until the transaction ends; those that do not exist are left out."""
    conditions, values = _conditions(Filter(), within)
    statement = sql.SQL(_SQL["lock_all"]).format(conditions=all_of(conditions))
    # In parts, always in the same order: PostgreSQL ends a transaction that is idle for seconds.
    in_order = sorted(wanted)
    for first in range(0, len(in_order), _PART):
        with tx.cursor(row_factory=devices.ROW) as cursor:
            yield from cursor.execute(statement, values | {"ids": in_order[first : first + _PART]}).fetchall()


def facets(tx: Transaction, *, within: Reach) -> dict[str, list[tuple[str, int]]]:
    """By facet (`site`, `device_type`, `tag`, `reachability`), each value with its number of devices."""
    conditions, values = _conditions(Filter(), within)
    found: dict[str, list[tuple[str, int]]] = {"site": [], "device_type": [], "tag": [], "reachability": []}
    for row in tx.execute(sql.SQL(_SQL["facets"]).format(conditions=all_of(conditions)), values):
        found[row["facet"]].append((row["value"], row["devices"]))
    return found


def _with_key(sort_key: str, **row: Any) -> tuple[str, Device]:
    return sort_key, devices.as_stored(**row)


def _conditions(wanted: Filter, within: Reach) -> tuple[list[sql.Composable], dict[str, Any]]:
    values = {name: value for name, value in asdict(wanted).items() if value is not None}
    conditions: list[sql.Composable] = [sql.SQL(_SQL[f"with_{name}"]) for name in values]
    if wanted.search is not None:
        values["search_host"] = searched_host(wanted.search)
    if within.is_limited:
        conditions.append(sql.SQL(_SQL["within_reach"]))
        values |= devices.within_of(within)
    return conditions, values
