"""The sessions that an instance holds, compared with the session rows in PostgreSQL: only differences are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from netstacks.cluster.model import SessionState
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.sessions import SessionRow

_SQL = load("held_sessions")


@dataclass(frozen=True)
class Held:
    """A session as its owner knows it."""

    id: UUID
    epoch: int
    state: SessionState


@dataclass(frozen=True)
class Page:
    """The held sessions with ids above `after` and up to `upto`; None means no bound."""

    held: Sequence[Held]
    after: UUID | None = None
    upto: UUID | None = None


@dataclass(frozen=True)
class Differences:
    """`rows`: another epoch, state or owner, a requested end, or owned by the instance and not held.

    `missing`: ids of held sessions without a row.
    """

    rows: list[SessionRow]
    missing: list[UUID]


def differences(tx: Transaction, instance_id: str, page: Page) -> Differences:
    """The differences between the page and the rows in its range of ids. Equal rows are not returned."""
    values = {
        "instance": instance_id,
        # As text: the driver takes three times as long to send a list of UUIDs.
        "ids": [each.id.hex for each in page.held],
        "epochs": [each.epoch for each in page.held],
        "states": [each.state for each in page.held],
        "after": page.after,
        "upto": page.upto,
    }
    with tx.cursor(row_factory=row_of(SessionRow)) as cursor:
        rows = cursor.execute(_SQL["differing"], values).fetchall()
    return Differences(rows, [row["id"] for row in tx.execute(_SQL["missing"], values).fetchall()])
