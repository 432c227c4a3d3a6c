"""The live sessions of the cluster, page by page, for the page HA status."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import sql

from netstacks.cluster.model import SessionState
from netstacks.store.pool import Transaction
from netstacks.store.queries import all_of, load, read_in_order, row_of
from netstacks.store.sight import Sight

_SQL = load("live_sessions")


@dataclass(frozen=True)
class LiveSession:
    """A session that has not ended; `owner` is None while no instance holds it.

    `recording_bytes` is the recorded device output: what the former owners of a session without owner have stored.
    """

    id: UUID
    username: str
    device_name: str
    owner: str | None
    owner_address: str | None
    epoch: int
    state: SessionState
    started_at: datetime
    recording_bytes: int


def page(
    tx: Transaction, *, owner: str | None, before: datetime | None, limit: int, seen_by: Sight | None = None
) -> list[LiveSession]:
    """Live sessions newest first: those of `owner`, or all; those that began before `before`; those in sight."""
    # A condition only when it is given, so that each form uses an index (store/queries.py).
    conditions = [sql.SQL(_SQL[name]) for name in ("is_live", *(["of_owner"] if owner is not None else []))]
    conditions += seen_by.conditions() if seen_by else []
    statement = sql.SQL(_SQL["page"]).format(conditions=all_of(conditions))
    if owner is None:
        read_in_order(tx)
    with tx.cursor(row_factory=row_of(LiveSession)) as cursor:
        return cursor.execute(
            statement, {"owner": owner, "before": before, "limit": limit, **(seen_by.values if seen_by else {})}
        ).fetchall()
