"""Open questions about host keys: in PostgreSQL, because a browser asks any instance while one of them waits."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from netstacks.errors import Forbidden, NotFound
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("prompts")

# How long a question stays open; the client shows a countdown of as long (wire contract 8).
ANSWER_SECS = 120.0
# How long a rejection holds: clients connect again by themselves, a second later.
REJECTED_SECS = 600.0


@dataclass(frozen=True)
class Prompt:
    """A question to one user: is this the key of that device? `approved` is None until somebody answers.

    The key has changed if there is a previous one, which somebody approved for that address.
    """

    id: UUID
    user_id: UUID | None
    host: str
    port: int
    fingerprint: str
    previous_fingerprint: str | None
    created_at: datetime
    approved: bool | None
    answered_at: datetime | None
    previous_approved_by: str | None
    previous_approved_at: datetime | None
    answered_by: str | None

    @property
    def rejected_at(self) -> datetime:
        """When a rejected question was answered, in UTC."""
        # An instance of the former version answers without a time.
        return (self.answered_at or self.created_at).astimezone(UTC)

    @property
    def rejected_until(self) -> datetime:
        """When the rejection ends, unless something ends it sooner, in UTC."""
        return self.rejected_at + timedelta(seconds=REJECTED_SECS)

    @property
    def is_changed_key(self) -> bool:
        return self.previous_fingerprint is not None


def _all(tx: Transaction, statement: str, **parameters: Any) -> list[Prompt]:
    with tx.cursor(row_factory=row_of(Prompt)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchall()


def ask(
    tx: Transaction, user_id: UUID | None, host: str, port: int, fingerprint: str, previous: StoredHostKey | None
) -> Prompt:
    """Opens a question, or joins the open one of the same user about the same key in place of the same `previous`."""
    tx.execute(_SQL["purge"], {"ttl_secs": ANSWER_SECS, "rejected_secs": REJECTED_SECS})
    wanted = {
        "user_id": user_id,
        "host": host,
        "port": port,
        "fingerprint": fingerprint,
        "previous_fingerprint": previous.fingerprint if previous else None,
    }
    approval = {
        "previous_approved_by": previous.approved_by if previous else None,
        "previous_approved_at": previous.approved_at if previous else None,
    }
    return (_all(tx, "find_open", **wanted) or _all(tx, "open", id=uuid.uuid4(), **wanted, **approval))[0]


def find(tx: Transaction, prompt_id: UUID) -> Prompt | None:
    return next(iter(_all(tx, "find", id=prompt_id)), None)


def rejected(
    tx: Transaction, user_id: UUID | None, host: str, port: int, fingerprint: str, since: datetime | None
) -> Prompt | None:
    """The user's rejection of that key, if it is younger than REJECTED_SECS and given after `since`."""
    wanted = {"user_id": user_id, "host": host, "port": port, "fingerprint": fingerprint}
    return next(iter(_all(tx, "rejected", since=since, rejected_secs=REJECTED_SECS, **wanted)), None)


def forget_rejections(tx: Transaction, host: str, port: int) -> None:
    """Whatever key that address shows is asked about again."""
    tx.execute(_SQL["forget_rejections"], {"host": host, "port": port})


def pending(tx: Transaction) -> list[Prompt]:
    """Every open question, oldest first."""
    return _all(tx, "pending", ttl_secs=ANSWER_SECS)


def answer(
    tx: Transaction, prompt_id: UUID, user_id: UUID, approved: bool, *, answered_by: str, may_manage: bool
) -> Prompt:
    """Answers for oneself, or for anybody with the permission to manage host keys, which a changed key takes.

    Raises NotFound, and Forbidden for an approval that takes this permission.
    """
    values = {"user_id": user_id, "approved": approved, "answered_by": answered_by, "may_manage": may_manage}
    answered = _all(tx, "answer", id=prompt_id, **values)
    if answered:
        return answered[0]
    asked = find(tx, prompt_id)
    if asked is not None and asked.approved is None and asked.user_id == user_id:
        raise Forbidden(
            "the host key has changed, and only an administrator (permission hostkeys.manage) may approve the new one"
        )
    raise NotFound("this question is not open any more: connect again")


def cancel(tx: Transaction, prompt_id: UUID) -> None:
    """Nobody waits for the answer any more."""
    tx.execute(_SQL["withdraw"], {"id": prompt_id})
