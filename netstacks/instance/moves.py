"""Moves: single sessions that an administrator has moved away, which this instance must not claim again at once."""

from uuid import UUID

from cachetools import TTLCache

from netstacks.cluster.draining import heirs
from netstacks.errors import Conflict
from netstacks.instance.agent import Agent
from netstacks.terminal.session import Session

# How long a client that comes back here is handed to another instance.
AWAY_SECS = 60.0
_MAX_MOVES = 10_000


class Moves:
    """Hands over single sessions, and remembers by reconnect token which clients belong elsewhere now."""

    def __init__(self, agent: Agent, ttl_secs: float) -> None:
        self._agent = agent
        self._ttl_secs = ttl_secs
        self._moved: TTLCache[UUID, bool] = TTLCache(_MAX_MOVES, AWAY_SECS)

    def check(self) -> None:
        """Raises Conflict when no other healthy instance could take over a session."""
        me = self._agent.me
        if not any(each.peer_address for each in heirs(self._agent.snapshot, me.id, self._ttl_secs)):
            raise Conflict(
                f"{me.id} owns this session and is the only healthy instance: no other one could take the session over."
                " Start another instance first"
            )

    def move(self, session: Session, by: str) -> None:
        """Hands the session over, as a drain does; its client reconnects to another instance. Raises Conflict."""
        self.check()
        if not session.is_live:
            raise Conflict("the session has just moved or ended")
        # Before the hand-over: its client may be back at once.
        self._moved[session.facts.token] = True
        session.hand_over(f"moved to another instance by {by}")
        details = {"session": str(session.id), "device": session.facts.device_name, "by": by}
        self._agent.record_event("moved", self._agent.me.id, **details)

    def is_away(self, token: UUID | None) -> bool:
        """Whether the session of this token was moved away from here lately."""
        return token is not None and token in self._moved

    def forget(self, token: UUID | None) -> None:
        """Lets this instance claim the session again: no other one can take its client."""
        if token is not None:
            self._moved.pop(token, None)
