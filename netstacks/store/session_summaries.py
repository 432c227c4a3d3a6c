"""Session summaries by language models: one per session, kept as long as its recording."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from netstacks.errors import NotFound
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("session_summaries")


@dataclass(frozen=True)
class SessionSummary:
    """A summary in Markdown. `created_by` is the name of the user who requested it.

    It covers the first `covered_bytes` of the session's output, which were recorded at `created_at`, the time of the
    request.
    """

    session_id: UUID
    text: str
    provider: str
    model: str
    created_at: datetime
    created_by: str
    covered_bytes: int


def get(tx: Transaction, session_id: UUID) -> SessionSummary | None:
    """The summary of the session, None if there is none."""
    with tx.cursor(row_factory=row_of(SessionSummary)) as cursor:
        return cursor.execute(_SQL["get"], {"session_id": session_id}).fetchone()


def put(tx: Transaction, summary: SessionSummary) -> None:
    """Stores the summary, replacing an earlier one. Raises NotFound when the recording has been deleted."""
    if tx.execute(_SQL["put"], asdict(summary)).rowcount == 0:
        raise NotFound("the recording was deleted meanwhile, so its summary is not stored")


def delete(tx: Transaction, session_ids: Sequence[UUID]) -> None:
    """Removes the summaries of these sessions."""
    tx.execute(_SQL["delete"], {"ids": list(session_ids)})
