"""The last proof that a backup can be restored, as HA status and the doctor show it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from netstacks.store import audit, settings
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("rehearsals")
_KEY = "backup.proven"


class Proof(BaseModel):
    """A backup that was restored into a database of its own, verified there, and served by an instance."""

    proven_at: datetime
    backup_created_at: datetime
    recordings: int
    audit_rows: int
    secrets: int
    start_secs: float | None = None
    """How long the instance took to be healthy; None in the proofs of versions that started none."""


def isolate(tx: Transaction) -> None:
    """Removes what would lead an instance on a restored database to other servers, and to other instances."""
    for statement in _SQL.values():
        tx.execute(statement)


def note(tx: Transaction, proof: Proof) -> None:
    """Stores the proof in the database that the backup is of."""
    facts: dict[str, Any] = proof.model_dump(mode="json")
    settings.put(tx, _KEY, facts)
    audit.append(tx, audit.SYSTEM, "backup.proven", "database", **facts)


def note_failure(tx: Transaction, problem: str) -> None:
    audit.append(tx, audit.SYSTEM, "backup.refuted", "database", problem=problem)


def last(tx: Transaction) -> Proof | None:
    """The last proof; None when there is none."""
    stored = settings.get(tx, _KEY)
    try:
        return Proof.model_validate(stored) if stored is not None else None
    except ValidationError:
        settings.note_unreadable(_KEY, "the last proof of a backup is not shown")
        return None
