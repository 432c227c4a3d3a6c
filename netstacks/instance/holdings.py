"""The sessions that this instance may own: those it holds, opens, creates, or whose end it still stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from netstacks.instance.pending_claims import PendingClaims
from netstacks.recording.recorder import Recorder
from netstacks.store.audit import Actor
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.hub import Hub


class Holdings:
    """A row that names this instance as the owner is valid as long as `has` is true for its session."""

    def __init__(self, hub: Hub, recorder: Recorder) -> None:
        self.hub = hub
        self.pending_claims: PendingClaims = {}
        self._recorder = recorder
        self._creating: set[UUID] = set()
        """Sessions whose row is being committed: peers can see the row before the hub has the session."""
        self.dialled: dict[Dialogue, Actor] = {}
        """The log-ins to devices that are under way, with the users they are for."""

    @contextmanager
    def dialling(self, actor: Actor, dialogue: Dialogue) -> Iterator[None]:
        """Around a log-in to a device, until the session is in the hub: a withdrawal of access can stop it."""
        self.dialled[dialogue] = actor
        try:
            yield
        finally:
            del self.dialled[dialogue]

    @contextmanager
    def creating(self, session_id: UUID) -> Iterator[None]:
        """Around the creation of a session, from before its row is committed until the hub has it."""
        self._creating.add(session_id)
        try:
            yield
        finally:
            self._creating.discard(session_id)

    def held_epoch(self, session_id: UUID) -> int | None:
        """The epoch at which this instance holds the session or is opening it."""
        session, opening = self.hub.find(session_id), self.pending_claims.get(session_id)
        if opening is not None:
            return opening.epoch
        return session.facts.epoch if session is not None else None

    def has(self, session_id: UUID) -> bool:
        return (
            self.held_epoch(session_id) is not None
            or session_id in self._creating
            or self._recorder.has_unstored(session_id)
        )
