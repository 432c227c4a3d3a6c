"""The queue of notices to be sent by mail. All instances share it: each notice is sent by one of them."""

from dataclasses import dataclass
from datetime import datetime

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("notices")

MAX_WAITING = 500
"""Further notices are dropped: a mail server that is away must not fill the database."""
MAX_ATTEMPTS = 8
# A notice that was sent, or given up, is kept for this long, so that it is not sent twice.
KEEP_DAYS = 60


@dataclass(frozen=True)
class QueuedNotice:
    """A notice that this instance has taken, to send it. `attempts` counts this one."""

    key: str
    subject: str
    body: str
    created_at: datetime
    attempts: int


def put(tx: Transaction, key: str, subject: str, body: str) -> None:
    """Queues a notice, unless one with this key was queued in the last KEEP_DAYS days."""
    limits = {"most_waiting": MAX_WAITING, "most_attempts": MAX_ATTEMPTS}
    tx.execute(_SQL["put"], {"key": key, "subject": subject, "body": body, **limits})


def take(tx: Transaction, lease_secs: float) -> QueuedNotice | None:
    """A notice that is due. For `lease_secs` no other instance takes it; afterwards it is due again unless sent."""
    row = tx.execute(_SQL["take"], {"lease_secs": lease_secs, "most_attempts": MAX_ATTEMPTS}).fetchone()
    return QueuedNotice(**row) if row else None


def note_sent(tx: Transaction, key: str, problem: str | None) -> None:
    """The notice is not sent again. `problem` is why some of the recipients do not get it."""
    tx.execute(_SQL["sent"], {"key": key, "problem": problem})


def note_failed(tx: Transaction, key: str, problem: str, wait_secs: float) -> None:
    """The notice is due again after `wait_secs`."""
    tx.execute(_SQL["failed"], {"key": key, "problem": problem, "wait_secs": wait_secs})


def sweep(tx: Transaction) -> None:
    """Deletes old notices."""
    tx.execute(_SQL["sweep"], {"days": KEEP_DAYS})
