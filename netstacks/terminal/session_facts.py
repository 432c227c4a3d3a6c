"""The fixed facts of a session, and the states of its life cycle."""

import time
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID


class State(Enum):
    ACTIVE = "active"
    DETACHED = "detached"
    ENDED = "ended"
    FENCED = "fenced"


TRANSITIONS = {
    State.ACTIVE: {State.DETACHED, State.ENDED, State.FENCED},
    State.DETACHED: {State.ACTIVE, State.ENDED, State.FENCED},
    State.ENDED: set[State](),
    State.FENCED: set[State](),
}


@dataclass(frozen=True)
class SessionFacts:
    """What does not change while this instance owns the session. `started_at` is in seconds since 1970."""

    id: UUID
    epoch: int
    owner: str
    user_id: UUID
    username: str
    device_id: UUID | None
    device_name: str
    host: str
    port: int
    credential_id: UUID | None
    token: UUID = field(repr=False)
    term: str = "xterm-256color"
    started_at: float = field(default_factory=time.time)
