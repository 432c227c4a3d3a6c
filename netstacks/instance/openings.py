"""Claimed sessions whose devices are being logged in to: whoever connects meanwhile waits for the same log-in."""

from uuid import UUID

from netstacks import greenlets
from netstacks.terminal.session import Session


class Opening:
    """A session that this instance has claimed, or is claiming, at `epoch`; it is held here once the device lets us."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._result: greenlets.AsyncResult[Session] = greenlets.AsyncResult()

    def wait(self) -> Session:
        """The session once it is open; raises what has become of it otherwise."""
        session: Session = self._result.get()
        return session

    def succeed(self, session: Session) -> None:
        self._result.set(session)

    def fail(self, error: BaseException) -> None:
        self._result.set_exception(error)


Openings = dict[UUID, Opening]
