"""Host keys: a device is trusted by the key that somebody approved, and never by another one without being asked."""

import base64
import contextlib
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import HostKeyRejected, OpeningAbandoned, StoreUnavailable
from netstacks.store import prompts
from netstacks.store.addresses import shown_address
from netstacks.store.pool import Database, Transaction
from netstacks.store.prompts import ANSWER_SECS, Prompt

# How often an instance looks for questions, and for the answer to one of its own.
_POLL_SECS = 0.5


@dataclass(frozen=True)
class HostKey:
    """A public key as OpenSSH writes it: its type and the base64 of its blob."""

    key_type: str
    public_key: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.public_key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


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

    def answer(self, tx: Transaction, prompt_id: UUID, user_id: UUID, approve: bool, *, is_admin: bool) -> Prompt:
        """Answers for oneself, or as an administrator for anybody. Raises NotFound."""
        self._open = [prompt for prompt in self._open if prompt.id != prompt_id]
        return prompts.answer(tx, prompt_id, user_id, approve, is_admin=is_admin)

    def ask(
        self,
        user_id: UUID | None,
        host: str,
        port: int,
        found: HostKey,
        previous: HostKey | None,
        is_abandoned: Callable[[], bool] = lambda: False,
        changed_at: datetime | None = None,
    ) -> Prompt | None:
        """Waits for the answer and returns the answered question; None without one in ANSWER_SECS.

        Connections of one user that meet the same key at the same device wait for one answer. A rejection that was
        given after `changed_at` is the answer for some minutes more, without waiting. Raises OpeningAbandoned.
        """
        give_up_at = time.monotonic() + ANSWER_SECS
        previous_fingerprint = previous.fingerprint if previous else None
        prompt: Prompt | None = None
        try:
            while time.monotonic() < give_up_at:
                with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                    prompt = prompts.find(tx, prompt.id) if prompt else None
                    # The connection that had asked may have given up: the question is still ours.
                    prompt = (
                        prompt
                        or prompts.rejected(tx, user_id, host, port, found.fingerprint, changed_at)
                        or prompts.ask(tx, user_id, host, port, found.fingerprint, previous_fingerprint)
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
                    prompts.withdraw(tx, prompt.id)


def check_host_key(
    asking: HostKeyPrompts,
    user_id: UUID | None,
    host: str,
    port: int,
    found: HostKey,
    stored: HostKey | None,
    is_abandoned: Callable[[], bool] = lambda: False,
    changed_at: datetime | None = None,
) -> None:
    """Has a person approve `found`, which is not the stored key. Raises HostKeyRejected unless that happens.

    A rejection holds for some minutes, unless the device or the credential was changed after it, at `changed_at`.
    """
    answered = asking.ask(user_id, host, port, found, stored, is_abandoned, changed_at)
    if answered and answered.approved:
        return
    said, then = f"was not approved within {ANSWER_SECS:.0f} s", ""
    if answered:
        said = f"was rejected at {answered.rejected_at:%H:%M} UTC"
        then = (
            f" You are asked again after ten minutes ({answered.rejected_until:%H:%M} UTC), or when the device or the"
            " credential is changed."
        )
    address = shown_address(host, port)
    if stored is None:
        raise HostKeyRejected(f"the host key of {address} ({found.fingerprint}) is unknown and {said}.{then}")
    raise HostKeyRejected(
        f"THE HOST KEY OF {address} HAS CHANGED from {stored.fingerprint} to {found.fingerprint} and {said}:"
        " unless the device was replaced or reset, somebody may be listening in. An administrator can approve the new"
        f" key at the next connection, or forget the old one under Host keys.{then}"
    )
