"""Host key prompts: a user approves a new or changed host key before the connection to the device goes on."""

import contextlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import HostKeyRejected, OpeningAbandoned, StoreUnavailable
from netstacks.hosts import shown_address
from netstacks.permissions import Reach
from netstacks.store import prompts
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.pool import Database, Transaction
from netstacks.store.prompts import ANSWER_SECS, Prompt
from netstacks.terminal.host_key import HostKey

# How often an instance polls PostgreSQL for open prompts, and for the answer to a prompt of its own.
_POLL_SECS = 0.5
_WARNING = "unless the device was replaced or reset, an attacker may be intercepting the connection."
_ADVICE = (
    "An administrator can approve the new key by connecting to the device, or forget the old one on the page Host keys"
)


class HostKeyPrompts:
    """The open host key prompts of the whole cluster: PostgreSQL holds them, so that any instance can show them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # All users' open prompts as of `_polled_at`, so that many browsers cost one query per poll interval.
        self._open: list[Prompt] = []
        self._polled_at = -math.inf

    def pending(self, user_id: UUID) -> list[Prompt]:
        """The open prompts of this user, oldest first. Served from memory: each browser polls every 750 ms."""
        if time.monotonic() - self._polled_at > _POLL_SECS:
            self._polled_at = time.monotonic()
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                self._open = prompts.pending(tx)
        return [prompt for prompt in self._open if prompt.user_id == user_id]

    def answer(
        self,
        tx: Transaction,
        prompt_id: UUID,
        user_id: UUID,
        approve: bool,
        *,
        answered_by: str,
        may_manage: bool,
        within: Reach,
    ) -> Prompt:
        """See `prompts.answer`. Raises NotFound, Forbidden."""
        answered = prompts.answer(
            tx, prompt_id, user_id, approve, answered_by=answered_by, may_manage=may_manage, within=within
        )
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
        """Opens a prompt, waits for its answer and returns it answered; None without an answer within ANSWER_SECS.

        Connections of one user that meet the same key at the same device share one prompt. A rejection that is newer
        than `changed_at` is returned for some minutes more, without waiting. Raises OpeningAbandoned.
        """
        give_up_at = time.monotonic() + ANSWER_SECS
        prompt: Prompt | None = None
        try:
            while time.monotonic() < give_up_at:
                with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                    prompt = prompts.find(tx, prompt.id) if prompt else None
                    # The connection that opened a shared prompt deletes it when it gives up: this one opens it again.
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
    host_key_prompts: HostKeyPrompts,
    user_id: UUID | None,
    host: str,
    port: int,
    found: HostKey,
    stored: StoredHostKey | None,
    is_abandoned: Callable[[], bool] = lambda: False,
    changed_at: datetime | None = None,
) -> Prompt:
    """Has a user approve `found`, which is not the stored key; returns the answered prompt.

    Raises HostKeyRejected without an approval. A rejection holds for some minutes, unless the device or the credential
    was changed after it, at `changed_at`.
    """
    answered = host_key_prompts.ask(user_id, host, port, found, stored, is_abandoned, changed_at)
    if answered and answered.approved:
        return answered
    outcome, advice = f"was not approved within {ANSWER_SECS:.0f} s", ""
    if answered:
        outcome = f"was rejected at {answered.rejected_at:%H:%M} UTC"
        advice = (
            f" You are asked again after ten minutes ({answered.rejected_until:%H:%M} UTC), or when the device or the"
            " credential is changed."
        )
    if stored is None:
        address = shown_address(host, port)
        raise HostKeyRejected(f"the host key of {address} ({found.fingerprint}) is unknown and {outcome}.{advice}")
    raise HostKeyRejected(f"{_changed(found, stored)} and {outcome}: {_WARNING} {_ADVICE}.{advice}")


def needs_administrator(found: HostKey, stored: StoredHostKey) -> HostKeyRejected:
    """The refusal for a user who may not approve a changed key: the connection does not wait for another user."""
    return HostKeyRejected(f"{_changed(found, stored)}: {_WARNING} Your role may not approve the new key. {_ADVICE}")


def _changed(found: HostKey, stored: StoredHostKey) -> str:
    return (
        f"THE HOST KEY OF {shown_address(stored.host, stored.port)} HAS CHANGED from {stored.fingerprint} (approved by"
        f" {stored.approved_by} on {stored.approved_at.astimezone(UTC):%Y-%m-%d at %H:%M} UTC) to {found.fingerprint}"
    )
