"""Host keys: a device is trusted by the key that somebody approved, and never by another one without being asked."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import HostKeyRejected, OpeningAbandoned, StoreUnavailable
from netstacks.store import prompts
from netstacks.store.addresses import shown_address
from netstacks.store.hostkeys import StoredHostKey, fingerprint_of
from netstacks.store.pool import Database, Transaction
from netstacks.store.prompts import ANSWER_SECS, Prompt

# How often an instance looks for questions, and for the answer to one of its own.
_POLL_SECS = 0.5
_WARNING = "unless the device was replaced or reset, somebody may be listening in."
_DECIDES = (
    "An administrator can approve the new key by connecting to the device, or forget the old one on the page Host keys"
)


@dataclass(frozen=True)
class HostKey:
    """A public key as OpenSSH writes it: its type and the base64 of its blob."""

    key_type: str
    public_key: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as `ssh-keygen -l` prints it."""
        return fingerprint_of(self.public_key)

    def is_stored_as(self, stored: StoredHostKey | None) -> bool:
        return stored is not None and (stored.key_type, stored.public_key) == (self.key_type, self.public_key)


class HostKeyPrompts:
    """The questions that connections are waiting for, on whatever instance they wait."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: list[Prompt] = []
        self._looked_at = -math.inf

    def pending(self, user_id: UUID) -> list[Prompt]:
        """What this user is asked now, oldest first; cheap, every browser asks every 750 ms."""
        if time.monotonic() - self._looked_at > _POLL_SECS:
            self._looked_at = time.monotonic()
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                self._open = prompts.pending(tx)
        return [prompt for prompt in self._open if prompt.user_id == user_id]

    def answer(
        self, tx: Transaction, prompt_id: UUID, user_id: UUID, approve: bool, *, answered_by: str, may_manage: bool
    ) -> Prompt:
        """See `prompts.answer`. Raises NotFound, Forbidden."""
        answered = prompts.answer(tx, prompt_id, user_id, approve, answered_by=answered_by, may_manage=may_manage)
        self._open = [prompt for prompt in self._open if prompt.id != prompt_id]
        return answered

    def ask(
        self,
        user_id: UUID | None,
        host: str,
        port: int,
        found: HostKey,
        previous: StoredHostKey | None,
        is_abandoned: Callable[[], bool] = lambda: False,
        changed_at: datetime | None = None,
    ) -> Prompt | None:
        """Waits for the answer and returns the answered question; None without one in ANSWER_SECS.

        Connections of one user that meet the same key at the same device wait for one answer. A rejection that was
        given after `changed_at` is the answer for some minutes more, without waiting. Raises OpeningAbandoned.
        """
        give_up_at = time.monotonic() + ANSWER_SECS
        prompt: Prompt | None = None
        try:
            while time.monotonic() < give_up_at:
                with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                    prompt = prompts.find(tx, prompt.id) if prompt else None
                    # The connection that had asked may have given up: the question is still ours.
                    prompt = (
                        prompt
                        or prompts.rejected(tx, user_id, host, port, found.fingerprint, changed_at)
                        or prompts.ask(tx, user_id, host, port, found.fingerprint, previous)
                    )
                if prompt is not None and prompt.approved is not None:
                    return prompt
                greenlets.sleep(_POLL_SECS)
                if is_abandoned():
                    raise OpeningAbandoned("cancelled")
            return None
        finally:
            if prompt is not None and prompt.approved is None:
                with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                    prompts.cancel(tx, prompt.id)


def check_host_key(
    asking: HostKeyPrompts,
    user_id: UUID | None,
    host: str,
    port: int,
    found: HostKey,
    stored: StoredHostKey | None,
    is_abandoned: Callable[[], bool] = lambda: False,
    changed_at: datetime | None = None,
) -> Prompt:
    """Has a person approve `found`, which is not the stored key; returns the answered question.

    Raises HostKeyRejected unless that happens. A rejection holds for some minutes, unless the device or the credential
    was changed after it, at `changed_at`.
    """
    answered = asking.ask(user_id, host, port, found, stored, is_abandoned, changed_at)
    if answered and answered.approved:
        return answered
    said, then = f"was not approved within {ANSWER_SECS:.0f} s", ""
    if answered:
        said = f"was rejected at {answered.rejected_at:%H:%M} UTC"
        then = (
            f" You are asked again after ten minutes ({answered.rejected_until:%H:%M} UTC), or when the device or the"
            " credential is changed."
        )
    if stored is None:
        address = shown_address(host, port)
        raise HostKeyRejected(f"the host key of {address} ({found.fingerprint}) is unknown and {said}.{then}")
    raise HostKeyRejected(f"{_changed(found, stored)} and {said}: {_WARNING} {_DECIDES}.{then}")


def needs_administrator(found: HostKey, stored: StoredHostKey) -> HostKeyRejected:
    """The refusal for a user who may not decide about a changed key; the connection does not wait for one who may."""
    return HostKeyRejected(f"{_changed(found, stored)}: {_WARNING} Your role may not approve the new key. {_DECIDES}")


def _changed(found: HostKey, stored: StoredHostKey) -> str:
    return (
        f"THE HOST KEY OF {shown_address(stored.host, stored.port)} HAS CHANGED from {stored.fingerprint} (approved by"
        f" {stored.approved_by} on {stored.approved_at.astimezone(UTC):%Y-%m-%d at %H:%M} UTC) to {found.fingerprint}"
    )
