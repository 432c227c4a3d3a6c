"""Host keys: a device is trusted by the key that somebody approved, and never by another one without being asked."""

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import HostKeyRejected, NotFound

# The client shows a countdown of as long (wire contract 8).
ANSWER_SECS = 120.0


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


@dataclass(frozen=True, eq=False)
class Prompt:
    """A question to one user: is this the key of that device?"""

    id: UUID
    user_id: UUID | None
    host: str
    port: int
    fingerprint: str
    previous_fingerprint: str | None
    created_at: datetime
    answer: "greenlets.AsyncResult[bool]"

    @property
    def is_changed_key(self) -> bool:
        return self.previous_fingerprint is not None


class HostKeyPrompts:
    """The questions that connections are waiting for, in this process."""

    def __init__(self) -> None:
        self._prompts: dict[UUID, Prompt] = {}

    def pending(self, user_id: UUID) -> list[Prompt]:
        """What this user is asked now, oldest first; cheap, every browser asks every 750 ms."""
        return [prompt for prompt in self._prompts.values() if prompt.user_id == user_id]

    def answer(self, prompt_id: UUID, user_id: UUID, approve: bool, *, is_admin: bool) -> None:
        """Answers for oneself, or as an administrator for anybody. Raises NotFound."""
        prompt = self._prompts.get(prompt_id)
        if prompt is None or not (is_admin or prompt.user_id == user_id):
            raise NotFound("this question is not open any more: connect again")
        prompt.answer.set(approve)

    def ask(self, user_id: UUID | None, host: str, port: int, found: HostKey, previous: HostKey | None) -> bool | None:
        """Waits for the answer; None when there was none in ANSWER_SECS.

        Connections of one user that meet the same key at the same device wait for one answer.
        """
        wanted = (user_id, host, port, found.fingerprint)
        for prompt in self._prompts.values():
            if (prompt.user_id, prompt.host, prompt.port, prompt.fingerprint) == wanted:
                return _wait(prompt)
        previous_fingerprint = previous.fingerprint if previous else None
        answer: greenlets.AsyncResult[bool] = greenlets.AsyncResult()
        now = datetime.now(UTC)
        prompt = Prompt(uuid.uuid4(), user_id, host, port, found.fingerprint, previous_fingerprint, now, answer)
        self._prompts[prompt.id] = prompt
        try:
            return _wait(prompt)
        finally:
            del self._prompts[prompt.id]


def _wait(prompt: Prompt) -> bool | None:
    remaining_secs = ANSWER_SECS - (datetime.now(UTC) - prompt.created_at).total_seconds()
    answer: bool | None = prompt.answer.wait(max(0.0, remaining_secs))
    return answer


def check_host_key(
    prompts: HostKeyPrompts, user_id: UUID | None, host: str, port: int, found: HostKey, stored: HostKey | None
) -> bool:
    """Whether a person has approved `found` just now; False when it is the stored key already.

    Raises HostKeyRejected when nobody approves it.
    """
    if stored == found:
        return False
    approved = prompts.ask(user_id, host, port, found, stored)
    if approved:
        return True
    said = "was refused" if approved is False else f"was not approved within {ANSWER_SECS:.0f} s"
    if stored is None:
        raise HostKeyRejected(f"the host key of {host}:{port} ({found.fingerprint}) is unknown and {said}")
    raise HostKeyRejected(
        f"THE HOST KEY OF {host}:{port} HAS CHANGED from {stored.fingerprint} to {found.fingerprint} and {said}:"
        " unless the device was replaced or reset, somebody may be listening in. An administrator can approve the new"
        " key at the next connection, or forget the old one under Host keys."
    )
