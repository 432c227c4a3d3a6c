"""Where shared sessions are: look-ups for viewers, who are many and ask for the same."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import ComeAgain, NetstacksError
from netstacks.instance.pending_claims import PendingClaim
from netstacks.terminal.session import Session

# Between two look-ups of a session that has no owner, at random: instances must not all ask PostgreSQL at once.
_PAUSE_SECS = (1.0, 2.0)


@dataclass(frozen=True)
class Held:
    """A session that a peer holds, or is opening, at `epoch`: it has just said so."""

    session_id: UUID
    owner: Peer
    epoch: int


Whereabouts = Session | PendingClaim | Held


class Finder:
    """Calls `locate` once for all that ask for the same session at the same time."""

    def __init__(self, locate: Callable[[UUID], Whereabouts]) -> None:
        self._locate = locate
        self._rounds: dict[UUID, greenlets.AsyncResult] = {}

    def find(self, session_id: UUID) -> Whereabouts:
        """Where the session is now. Raises what `locate` raises."""
        return self._find(session_id, 0.0)

    def find_later(self, session_id: UUID) -> Whereabouts:
        """The same after a pause of a second or two, which all that wait for the session share."""
        return self._find(session_id, random.uniform(*_PAUSE_SECS))  # noqa: S311 - no secret

    def _find(self, session_id: UUID, pause_secs: float) -> Whereabouts:
        # No yield here: two rounds would begin.
        result = self._rounds.get(session_id)
        if result is None:
            result = self._rounds[session_id] = greenlets.AsyncResult()
            greenlets.spawn("viewer-look-up", self._look, session_id, pause_secs, result)
        found: Whereabouts | NetstacksError = result.get()
        if isinstance(found, NetstacksError):
            # One of its own for each: an exception keeps the frames of everybody who raises it.
            raise type(found)(str(found))
        return found

    def _look(self, session_id: UUID, pause_secs: float, result: greenlets.AsyncResult) -> None:
        # What stands when a bug ends this greenlet, which is logged.
        found: Whereabouts | NetstacksError = ComeAgain("the session could not be looked up")
        try:
            greenlets.sleep(pause_secs)
            found = self._locate(session_id)
        except NetstacksError as error:
            found = error
        finally:
            del self._rounds[session_id]
            result.set(found)
