"""Look-ups of shared sessions: many viewers look for the same session, and share one look-up."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import NetstacksError, RetryLater
from netstacks.instance.pending_claims import PendingClaim
from netstacks.terminal.session import Session

# The pause before another look-up of a session without an owner. Random: not all instances must query at once.
_PAUSE_SECS = (1.0, 2.0)


@dataclass(frozen=True)
class Held:
    """A session that a peer has just confirmed to hold, or to be opening, at `epoch`."""

    session_id: UUID
    owner: Peer
    epoch: int


SessionLocation = Session | PendingClaim | Held


class Finder:
    """Calls `locate` once for all concurrent requests for the same session."""

    def __init__(self, locate: Callable[[UUID], SessionLocation]) -> None:
        self._locate = locate
        self._rounds: dict[UUID, greenlets.AsyncResult] = {}

    def find(self, session_id: UUID) -> SessionLocation:
        """The current location of the session. Raises what `locate` raises."""
        return self._find(session_id, 0.0)

    def find_later(self, session_id: UUID) -> SessionLocation:
        """As `find`, after a pause of one to two seconds that all waiting viewers of the session share."""
        return self._find(session_id, random.uniform(*_PAUSE_SECS))  # noqa: S311 - no secret

    def _find(self, session_id: UUID, pause_secs: float) -> SessionLocation:
        # No yield between the check and the insert: two rounds would begin.
        result = self._rounds.get(session_id)
        if result is None:
            result = self._rounds[session_id] = greenlets.AsyncResult()
            greenlets.spawn("viewer-look-up", self._look, session_id, pause_secs, result)
        found: SessionLocation | NetstacksError = result.get()
        if isinstance(found, NetstacksError):
            # A new exception for each caller: one that is raised repeatedly collects the frames of every raise.
            raise type(found)(str(found))
        return found

    def _look(self, session_id: UUID, pause_secs: float, result: greenlets.AsyncResult) -> None:
        # The result when an unexpected error, which is logged, ends this greenlet.
        found: SessionLocation | NetstacksError = RetryLater("the session could not be looked up")
        try:
            greenlets.sleep(pause_secs)
            found = self._locate(session_id)
        except NetstacksError as error:
            found = error
        finally:
            del self._rounds[session_id]
            result.set(found)
