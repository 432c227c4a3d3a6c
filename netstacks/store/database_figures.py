"""Figures of PostgreSQL for the page HA status: connections, standbys, sizes."""

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("database_figures")


@dataclass(frozen=True)
class Standby:
    """A standby as the server sees it. `state` and `lag_secs` are None when this role may not see them."""

    name: str
    state: str | None
    lag_secs: float | None


@dataclass(frozen=True)
class DatabaseFigures:
    """One server. `connections` counts those of all databases; None stands for what this role may not see.

    `recordings_bytes` is the size of the recordings on disk with their indexes, `oldest_transaction_secs` the age of
    the oldest open transaction in this database: it keeps old row versions from being removed. `wal_position` is how
    far the server has written its log, or replayed that of its primary; `replay_lag_secs` is the age of what a standby
    has replayed, 0 when it has replayed all that it received.
    """

    version: str
    connections: int | None
    connections_limit: int
    role: Literal["primary", "standby"]
    replicas: tuple[Standby, ...]
    recordings_bytes: int | None
    oldest_transaction_secs: float | None
    replay_lag_secs: float | None = None
    wal_position: str | None = None


def read(tx: Transaction) -> DatabaseFigures:
    """The figures now."""
    row = tx.execute(_SQL["figures"]).fetchone()
    assert row is not None
    replicas = tuple(Standby(**each) for each in tx.execute(_SQL["replicas"]).fetchall())
    role: Literal["primary", "standby"] = "standby" if row.pop("in_recovery") else "primary"
    return DatabaseFigures(**row, **_position(tx, role), role=role, replicas=replicas)


def _position(tx: Transaction, role: Literal["primary", "standby"]) -> dict[str, Any]:
    """The position in the log; empty where the functions are taken from this role, or a managed server lacks them."""
    # In a savepoint: an error must not end the transaction.
    with contextlib.suppress(psycopg.DatabaseError), tx.transaction():
        return tx.execute(_SQL[f"position_of_{role}"]).fetchone() or {}
    return {}
