"""The partitions of the audit log, a month each: created ahead, and dropped when they are older than retention allows.

Months are those of UTC. A row of a time that has no partition is stored in the default one, and moved when the
partition of its month is created.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import sql

from netstacks.store import audit
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("audit_partitions")

# So many months after the current one have their partitions.
AHEAD_MONTHS = 2


@dataclass(frozen=True)
class Partition:
    """A table with the rows from `since` to `until`, exclusive; `since` is None for the first one, without a bound."""

    name: str
    since: datetime | None
    until: datetime


@dataclass(frozen=True)
class Dropped:
    """A partition that is gone: how many rows it had."""

    partition: Partition
    rows: int


def all_partitions(tx: Transaction) -> list[Partition]:
    """All but the default one, oldest first."""
    with tx.cursor(row_factory=row_of(Partition)) as cursor:
        return cursor.execute(_SQL["all"]).fetchall()


def edges(tx: Transaction) -> list[datetime]:
    """The times at which partitions begin, newest first."""
    return [row["since"] for row in tx.execute(_SQL["edges"])]


def create_missing(tx: Transaction, now: datetime) -> list[str]:
    """Creates the partitions of the months until AHEAD_MONTHS after `now`, and returns the names of the new ones."""
    if not _lock(tx):
        return []
    known = all_partitions(tx)
    covered = max((partition.until.astimezone(UTC) for partition in known), default=month_of(now))
    created = []
    since = max(covered, month_of(now))
    while since <= _months_later(month_of(now), AHEAD_MONTHS):
        created.append(_create(tx, since, _months_later(since, 1)))
        since = _months_later(since, 1)
    return created


def _create(tx: Transaction, since: datetime, until: datetime) -> str:
    name = f"audit_{since:%Y_%m}"
    named = {"name": sql.Identifier(name)}
    bounds = {"since": since, "until": until}
    tx.execute(sql.SQL(_SQL["create"]).format(**named))
    if tx.execute(_SQL["strays"], bounds).fetchone():
        tx.execute(_SQL["unprotect_default"])
        tx.execute(sql.SQL(_SQL["move"]).format(**named), bounds)
        tx.execute(_SQL["protect_default"])
    tx.execute(sql.SQL(_SQL["protect"]).format(**named))
    literals = {bound: sql.Literal(at.isoformat()) for bound, at in bounds.items()}
    tx.execute(sql.SQL(_SQL["attach"]).format(**named, **literals))
    tx.execute(_SQL["note"], {"name": name, **bounds})
    return name


def drop_expired(tx: Transaction, days: int) -> Dropped | None:
    """Drops the oldest partition whose rows are all older than `days`; None when there is none, or it is in use.

    A partition with rows that are not sealed yet stays. What the chain needs to be verified without the rows is kept.
    """
    if not _lock(tx):
        return None
    with tx.cursor(row_factory=row_of(Partition)) as cursor:
        partition = cursor.execute(_SQL["expired"], {"days": days}).fetchone()
    if partition is None:
        return None
    named = {"name": sql.Identifier(partition.name)}
    if tx.execute(sql.SQL(_SQL["any_unsealed"]).format(**named)).fetchone():
        return None
    bounds = {"since": partition.since, "until": partition.until}
    sealed = tx.execute(_SQL["drop_seals"], bounds).fetchone()
    assert sealed is not None
    since = partition.since.isoformat() if partition.since else None
    facts = {"since": since, "until": partition.until.isoformat(), "retention_days": days, **sealed}
    audit.append(tx, audit.SYSTEM, "audit.partition_dropped", f"audit:{partition.name}", **facts)
    tx.execute(_SQL["forget"], {"name": partition.name})
    # Last: from here on, appends wait for this transaction.
    tx.execute(sql.SQL(_SQL["drop"]).format(**named))
    return Dropped(partition, sealed["rows"])


def _lock(tx: Transaction) -> bool:
    tx.execute(_SQL["wait_briefly"])
    return tx.execute(_SQL["lock"]).fetchone() is not None


def month_of(at: datetime) -> datetime:
    """The beginning of the month of `at`."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _months_later(month: datetime, count: int) -> datetime:
    years, index = divmod(month.month - 1 + count, 12)
    return month.replace(year=month.year + years, month=index + 1)
