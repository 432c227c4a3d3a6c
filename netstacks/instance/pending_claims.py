"""Claimed sessions whose devices are being logged in to: whoever connects meanwhile waits for the same log-in."""

from uuid import UUID

from netstacks import greenlets
from netstacks.store.audit import Actor
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.session import Session


class PendingClaim:
    """A session that this instance has claimed, or is claiming, at `epoch`; it is held here once the device lets us.

    Its user takes part in the log-in through `dialogue`.
    """

    def __init__(self, session_id: UUID, epoch: int, actor: Actor) -> None:
        self.session_id = session_id
        self.epoch = epoch
        self.actor = actor
        self.dialogue = Dialogue()
        self._result: greenlets.AsyncResult[Session] = greenlets.AsyncResult()

    def wait(self) -> Session:
        """The session once it is open; raises what has become of it otherwise."""
        session: Session = self._result.get()
        return session

    def succeed(self, session: Session) -> None:
        self._result.set(session)

    def fail(self, error: BaseException) -> None:
        self._result.set_exception(error)


PendingClaims = dict[UUID, PendingClaim]
