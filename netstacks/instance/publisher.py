"""The publisher: tells the registry which sessions this instance has, has no longer, and what happened to it."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from netstacks import greenlets
from netstacks.cluster.model import EventKind, SessionRecord
from netstacks.instance.failures import FailureLog
from netstacks.registry.base import Registry

# The registry keeps no more either.
_MAX_EVENTS = 1000


class HeldSessions(Protocol):
    """The sessions that this instance holds. All of it returns at once."""

    def records(self) -> list[SessionRecord]:
        """What the registry is to know of each."""

    def fence(self, session_ids: Sequence[UUID]) -> None:
        """Closes the copies of sessions that belong to another instance by now."""


class Publisher:
    """Group commit: one greenlet at a time takes everything that waits and does it in a few calls.

    A call that fails may have had its effect, or have it later, so it is not repeated. The registry is in doubt then,
    and is compared with what is held after the next heartbeat that succeeds.
    """

    def __init__(self, owner: str, registry: Registry, sessions: HeldSessions) -> None:
        self._owner = owner
        self._registry = registry
        self._sessions = sessions
        self._failures = FailureLog()
        self._published: dict[UUID, SessionRecord] = {}
        self._withdrawn: dict[UUID, int] = {}
        """What waits, by session, at its latest epoch. Publications go first: a session that was withdrawn at an epoch
        is never published at it again, and one that is published at a later epoch is not removed."""
        self._events: deque[tuple[EventKind, str, dict[str, str]]] = deque(maxlen=_MAX_EVENTS)
        self._in_doubt = False
        """Whether the registry may differ from what is held by more than what waits."""
        self._comparing = False
        """Whether the next run compares everything, which makes obsolete what waits."""
        self._run = greenlets.SingleFlight("publisher", self._commit)

    def publish(self, record: SessionRecord) -> None:
        """Returns when the registry was told, and the copy is closed if it is fenced. A failure is repaired later."""
        waiting = self._published.get(record.id)
        if waiting is None or waiting.epoch <= record.epoch:
            self._published[record.id] = record
        self._run()

    def withdraw(self, session_id: UUID, epoch: int) -> None:
        """The registry forgets the session, unless it has it at a later epoch. Returns at once."""
        self._withdrawn[session_id] = max(epoch, self._withdrawn.get(session_id, epoch))
        self._run.begin()

    def record_event(self, kind: EventKind, instance_id: str, **details: str) -> None:
        """Returns at once. An event that fails waits; of very many, the oldest are lost."""
        self._events.append((kind, instance_id, details))
        self._run.begin()

    def doubt(self) -> None:
        """The registry may lack anything, as one that has just been joined."""
        self._in_doubt = True

    def catch_up(self) -> None:
        """Has what failed repaired; to be called after a heartbeat that succeeded. Returns at once."""
        self._comparing = self._in_doubt
        if self._comparing or self._published or self._withdrawn or self._events:
            self._run.begin()

    def flush(self) -> None:
        """Returns when everything that waits now was tried."""
        self._run()

    def _commit(self) -> None:
        # No yield here: a change that comes from now on belongs to the next run.
        published, self._published = self._published, {}
        withdrawn, self._withdrawn = self._withdrawn, {}
        comparing, self._comparing = self._comparing, False
        if comparing:
            self._in_doubt = False
        try:
            if comparing:
                self._compare()
            else:
                self._publish(list(published.values()))
                self._remove(withdrawn)
        except Exception as error:
            self._in_doubt = True
            self._failures.failed("publish", error)
        else:
            self._failures.succeeded("publish")
        self._send_events()

    def _compare(self) -> None:
        """Makes the registry agree with what is held."""
        stored = {each.id: each for each in self._registry.sessions_of(self._owner)}
        # Looked at last, so that it has whatever this run has taken and does not send.
        held = self._sessions.records()
        self._publish([each for each in held if stored.get(each.id) != each])
        holding = {each.id for each in held}
        self._remove({each.id: each.epoch for each in stored.values() if each.id not in holding})

    def _publish(self, records: list[SessionRecord]) -> None:
        if not records:
            return
        answers = self._registry.publish(*records)
        fenced = [each for each, answer in zip(records, answers, strict=True) if answer == "fenced"]
        if fenced:
            self._fence(fenced)

    def _fence(self, records: list[SessionRecord]) -> None:
        # While the registry was asked, a copy may have ended here and come back at a later epoch.
        held = {each.id: each.epoch for each in self._sessions.records()}
        fenced = [each.id for each in records if held.get(each.id) == each.epoch]
        self._sessions.fence(fenced)
        for session_id in fenced:
            self.record_event("fenced", self._owner, session=str(session_id))

    def _remove(self, epochs: dict[UUID, int]) -> None:
        if epochs:
            self._registry.remove(self._owner, epochs)

    def _send_events(self) -> None:
        while self._events:
            kind, instance_id, details = event = self._events.popleft()
            try:
                self._registry.record_event(kind, instance_id, **details)
            except Exception as error:
                self._events.appendleft(event)
                self._failures.failed("record_event", error)
                return
            self._failures.succeeded("record_event")
