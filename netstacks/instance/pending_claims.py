"""Claimed sessions whose log-in is under way: every connection to such a session waits for the same log-in."""

from dataclasses import dataclass
from uuid import UUID

from netstacks import greenlets
from netstacks.instance.targets import Target
from netstacks.store.audit import Actor
from netstacks.store.credentials import LoginSecret
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.session import Session


@dataclass(frozen=True)
class Prepared:
    """The input of the log-in of a claimed session, and the end of its recording.

    `end` is the offset after the last recorded byte, `output` the bytes before it, `sha256` that of the last chunk.
    `role` is the role of the session's user.
    """

    target: Target
    credential_id: UUID
    secret: LoginSecret
    end: int
    sha256: bytes
    output: bytes
    role: str


class PendingClaim:
    """A session that this instance has claimed, or is claiming, at `epoch`. It becomes a `Session` after the log-in.

    The user takes part in the log-in through `dialogue`.
    """

    def __init__(self, session_id: UUID, epoch: int, actor: Actor) -> None:
        self.session_id = session_id
        self.epoch = epoch
        self.actor = actor
        self.dialogue = Dialogue()
        self._result: greenlets.AsyncResult[Session] = greenlets.AsyncResult()

    def wait(self) -> Session:
        """Waits for the session; raises the error that the claim or its log-in failed with."""
        session: Session = self._result.get()
        return session

    def succeed(self, session: Session) -> None:
        self._result.set(session)

    def fail(self, error: BaseException) -> None:
        self._result.set_exception(error)


PendingClaims = dict[UUID, PendingClaim]
