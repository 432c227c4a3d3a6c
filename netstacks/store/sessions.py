"""The session rows: ownership is decided in PostgreSQL by a compare-and-set on the epoch (docs/architecture.md)."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from netstacks.cluster.admission import Standing
from netstacks.cluster.model import Peer, SessionRecord, SessionState
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.sight import Sight, seen_sessions

_SQL = load("sessions")
# A session with output or input this short a time before the loss of its owner counts as in use.
_IN_USE_SECS = 120


@dataclass(frozen=True)
class SessionRow:
    """A session as stored. `owner` is the instance that holds its SSH connection at `epoch`, or None."""

    id: UUID
    user_id: UUID
    username: str
    device_id: UUID | None
    device_name: str
    host: str
    port: int
    credential_id: UUID | None
    term: str
    cols: int
    rows: int
    owner: str | None
    owner_address: str | None
    epoch: int
    state: SessionState
    reconnect_hash: bytes
    acked_offset: int
    recording_name: str | None
    started_at: datetime
    detached_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    recording_bytes: int
    recording_began_at: float | None
    recording_ended_at: float | None
    recording_discarded: bool
    end_requested: str | None
    recorded_bytes: int

    def record(self) -> SessionRecord:
        """The row as the `cluster` package represents it."""
        return SessionRecord(
            id=self.id,
            owner=self.owner,
            epoch=self.epoch,
            device=self.device_name,
            user=self.username,
            started_at=self.started_at.timestamp(),
            state=self.state,
            cols=self.cols,
            rows=self.rows,
        )


@dataclass(frozen=True)
class WaitingSession:
    """A live session without an attached client."""

    id: UUID
    username: str


@dataclass(frozen=True)
class LostCounts:
    """The fate of the sessions of a lost instance: live at another owner, waiting for a client, or ended."""

    taken_over: int = 0
    waiting: int = 0
    ended: int = 0


def hash_token(token: UUID) -> bytes:
    """The stored form of a reconnect token. A random UUID has enough entropy for an unsalted SHA-256."""
    return hashlib.sha256(token.bytes).digest()


def _one(tx: Transaction, statement: str, **parameters: Any) -> SessionRow | None:
    with tx.cursor(row_factory=row_of(SessionRow)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchone()


def create(
    tx: Transaction,
    *,
    session_id: UUID,
    user_id: UUID,
    username: str,
    device_id: UUID | None,
    device_name: str,
    host: str,
    port: int,
    credential_id: UUID | None,
    term: str,
    cols: int,
    rows: int,
    owner: str,
    owner_address: str | None,
    token: UUID,
) -> SessionRow:
    """Inserts a session at epoch 1, owned by `owner`."""
    row = _one(
        tx,
        "create",
        id=session_id,
        user_id=user_id,
        username=username,
        device_id=device_id,
        device_name=device_name,
        host=host,
        port=port,
        credential_id=credential_id,
        term=term,
        cols=cols,
        rows=rows,
        owner=owner,
        owner_address=owner_address,
        reconnect_hash=hash_token(token),
    )
    assert row is not None
    return row


def find(tx: Transaction, session_id: UUID) -> SessionRow | None:
    return _one(tx, "find", id=session_id)


def find_seen(tx: Transaction, session_id: UUID, *, by: Sight) -> SessionRow | None:
    """The session, if it is in sight."""
    row = find(tx, session_id)
    return row if row is not None and seen_sessions(tx, [session_id], by) else None


def find_by_token(tx: Transaction, token: UUID) -> SessionRow | None:
    """The session of a reconnect token, including ended ones."""
    return _one(tx, "find_by_token", reconnect_hash=hash_token(token))


def claim(tx: Transaction, row: SessionRow, *, owner: str, owner_address: str | None) -> SessionRow | None:
    """Takes the session over at the next epoch; None when another claim won, or when it has ended or is to end."""
    return _one(tx, "claim", id=row.id, epoch=row.epoch, owner=owner, owner_address=owner_address)


def release(tx: Transaction, session_id: UUID, epoch: int) -> SessionRow | None:
    """Gives the session up at `epoch`, so that the next connection can claim it at once; None at another epoch."""
    return _one(tx, "release", id=session_id, epoch=epoch)


def end(tx: Transaction, session_id: UUID, epoch: int, reason: str) -> SessionRow | None:
    """Ends the session; None when it is no longer at `epoch`."""
    return _one(tx, "end", id=session_id, epoch=epoch, reason=reason)


def end_orphan(tx: Transaction, session_id: UUID, epoch: int, reason: str) -> SessionRow | None:
    """Ends a session whose owner is gone, as `end` does, and notes which instance has lost it."""
    return _one(tx, "end_orphan", id=session_id, epoch=epoch, reason=reason)


def end_all_of(tx: Transaction, user_id: UUID, reason: str) -> tuple[list[UUID], list[UUID]]:
    """Ends a user's sessions without an owner, and requests the end of the others. Returns the ids of both.

    An owner stores its recording before it ends the session. It polls for requests every few seconds; notify it too.
    """
    wanted = {"user_id": user_id, "reason": reason}
    ended, requested = (
        [row["id"] for row in tx.execute(_SQL[statement], wanted)] for statement in ("end_unowned_of", "request_end_of")
    )
    return ended, requested


def waiting_on_device(tx: Transaction, device_id: UUID) -> list[WaitingSession]:
    """The device's live sessions without an attached client, the longest detached first."""
    with tx.cursor(row_factory=row_of(WaitingSession)) as cursor:
        return cursor.execute(_SQL["waiting_on_device"], {"device_id": device_id}).fetchall()


def mark_detached(tx: Transaction, session_id: UUID, epoch: int) -> None:
    tx.execute(_SQL["detach"], {"id": session_id, "epoch": epoch})


def mark_attached(tx: Transaction, session_id: UUID, epoch: int, cols: int, rows: int) -> None:
    tx.execute(_SQL["attach"], {"id": session_id, "epoch": epoch, "cols": cols, "rows": rows})


def other_owners(tx: Transaction, instance_id: str) -> list[Peer]:
    """The other instances that own live sessions."""
    with tx.cursor(row_factory=row_of(Peer)) as cursor:
        return cursor.execute(_SQL["other_owners"], {"instance": instance_id}).fetchall()


def counts_of_lost(tx: Transaction, ids: Collection[str]) -> dict[str, LostCounts]:
    """By instance, the fate of its sessions; an instance without sessions has zeros."""
    rows = tx.execute(_SQL["counts_of_lost"], {"ids": list(ids)}).fetchall()
    found = {row["id"]: LostCounts(row["taken_over"], row["waiting"], row["ended"]) for row in rows}
    return {id: found.get(id, LostCounts()) for id in ids}


def unowned(tx: Transaction, registered_ids: Collection[str]) -> int:
    """How many live sessions have no owner, or one that is not registered."""
    row = tx.execute(_SQL["unowned"], {"registered": list(registered_ids)}).fetchone()
    assert row is not None
    return int(row["unowned"])


def detach_orphans(tx: Transaction, gone: Sequence[str]) -> bool:
    """Marks active sessions without an owner, or with an owner in `gone`, as detached from now on.

    At most 500 per call; False when there were none.
    """
    return tx.execute(_SQL["detach_orphans"], {"gone": list(gone)}).rowcount > 0


def due_orphans(tx: Transaction, gone: Sequence[str], ttl_secs: float) -> list[SessionRow]:
    """Up to 50 sessions without an owner, or with an owner in `gone`, that must end now.

    Their end was requested, or they have been detached for `ttl_secs`.
    """
    with tx.cursor(row_factory=row_of(SessionRow)) as cursor:
        return cursor.execute(_SQL["due_orphans"], {"gone": list(gone), "ttl_secs": ttl_secs}).fetchall()


def standings(tx: Transaction, tokens: Sequence[UUID]) -> dict[UUID, Standing]:
    """The standing of the sessions of these tokens, for orphans the one before the loss; unknown tokens are absent."""
    by_hash = {hash_token(token): token for token in tokens}
    rows = tx.execute(_SQL["standings"], {"hashes": list(by_hash), "in_use_secs": _IN_USE_SECS}).fetchall()
    return {by_hash[bytes(row["reconnect_hash"])]: _standing(row) for row in rows}


def _standing(row: dict[str, Any]) -> Standing:
    if not row["was_attached"]:
        return Standing.DETACHED
    return Standing.IN_USE if row["was_in_use"] else Standing.ATTACHED


def keep_waiting(tx: Transaction, tokens: Sequence[UUID]) -> None:
    """Restarts the detach TTL of these sessions: their clients wait in the admission queue."""
    tx.execute(_SQL["keep_waiting"], {"hashes": [hash_token(token) for token in tokens]})
