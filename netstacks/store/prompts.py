"""Host-key prompts, stored in PostgreSQL: a browser answers through any instance while another one waits."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from netstacks.errors import Forbidden, NotFound
from netstacks.permissions import Reach
from netstacks.store.devices import within_of
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("prompts")

# How long a prompt stays open; the client shows a countdown of the same length (docs/protocol.md, 8).
ANSWER_SECS = 120.0
# How long a rejection is remembered: clients reconnect automatically a second later, and must not ask again.
REJECTED_SECS = 600.0


@dataclass(frozen=True)
class Prompt:
    """Asks one user whether to trust a device's host key. `approved` is None until it is answered.

    A previous key in it was approved for that address earlier: then the key has changed.
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
        """When a rejected prompt was answered, in UTC."""
        # An instance of the former version stores no time with the answer.
        return (self.answered_at or self.created_at).astimezone(UTC)

    @property
    def rejected_until(self) -> datetime:
        """When the rejection expires, in UTC."""
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
    """Opens a prompt, or returns the open one of the same user for the same key and the same `previous` key."""
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
    """The user's rejection of that key, if it is younger than REJECTED_SECS and later than `since`."""
    wanted = {"user_id": user_id, "host": host, "port": port, "fingerprint": fingerprint}
    return next(iter(_all(tx, "rejected", since=since, rejected_secs=REJECTED_SECS, **wanted)), None)


def forget_rejections(tx: Transaction, host: str, port: int) -> None:
    """Deletes the rejections for that address, so that the next connection asks again."""
    tx.execute(_SQL["forget_rejections"], {"host": host, "port": port})


def pending(tx: Transaction) -> list[Prompt]:
    """Every open prompt, oldest first."""
    return _all(tx, "pending", ttl_secs=ANSWER_SECS)


def answer(
    tx: Transaction,
    prompt_id: UUID,
    user_id: UUID,
    approved: bool,
    *,
    answered_by: str,
    may_manage: bool,
    within: Reach,
) -> Prompt:
    """Answers the user's own prompt, or with `may_manage` any prompt. Approving a changed key requires `may_manage`.

    Raises NotFound, also for a prompt of a device outside the reach of the user's role, and Forbidden for an approval
    that requires `may_manage`.
    """
    values: dict[str, Any] = {
        "user_id": user_id,
        "approved": approved,
        "answered_by": answered_by,
        "may_manage": may_manage,
    }
    values |= within_of(within)
    answered = _all(tx, "answer", id=prompt_id, **values)
    if answered:
        return answered[0]
    prompt = find(tx, prompt_id)
    is_own = prompt is not None and prompt.approved is None and prompt.user_id == user_id
    if is_own and not may_manage:
        raise Forbidden(
            "the host key has changed, and only an administrator (permission hostkeys.manage) may approve the new one"
        )
    raise NotFound("this question is not open any more: connect again")


def cancel(tx: Transaction, prompt_id: UUID) -> None:
    """Deletes an open prompt when the connection that waited for its answer has ended."""
    tx.execute(_SQL["cancel"], {"id": prompt_id})
