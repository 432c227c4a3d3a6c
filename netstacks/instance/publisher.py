"""The publisher: writes the sessions of this instance, their removals and its events to the registry."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from netstacks import greenlets
from netstacks.cluster.model import EventKind, SessionRecord
from netstacks.instance.failures import FailureLog
from netstacks.registry.base import Registry

# The registry has the same limit.
_MAX_EVENTS = 1000


class HeldSessions(Protocol):
    """The sessions that this instance holds. No method waits."""

    def records(self) -> list[SessionRecord]:
        """The record of each, as the registry stores it."""

    def fence(self, session_ids: Sequence[UUID]) -> None:
        """Closes the copies of sessions that another instance owns."""


class LiveSessions(HeldSessions, Protocol):
    """What the agent needs of the sessions that this instance holds. No method waits."""

    def recheck(self) -> None:
        """Compares each session with its row as soon as PostgreSQL answers, and closes the copies that were fenced."""

    def expire_detached(self) -> None:
        """Ends the sessions whose client has been away for longer than SESSION_DETACH_TTL_SECS."""


class Publisher:
    """Group commit: one greenlet at a time takes all waiting changes and writes them with a few calls.

    A failed call may have had its effect, or have it later, so it is not repeated. Instead, after the next successful
    heartbeat, the registry is compared with the sessions held here.
    """

    def __init__(self, owner: str, registry: Registry, sessions: HeldSessions) -> None:
        self._owner = owner
        self._registry = registry
        self._sessions = sessions
        self._failures = FailureLog()
        self._published: dict[UUID, SessionRecord] = {}
        self._withdrawn: dict[UUID, int] = {}
        """The waiting changes by session, each at its latest epoch. Publications are written first: a session withdrawn
        at an epoch is never published at that epoch again, and a removal does not touch a later epoch."""
        self._events: deque[tuple[EventKind, str, float, dict[str, str]]] = deque(maxlen=_MAX_EVENTS)
        """Kind, instance id, `once_secs` and details of each event that waits."""
        self._may_be_incomplete = False
        """Whether the registry may differ from the held sessions by more than the waiting changes."""
        self._comparing = False
        """Whether the next run compares all sessions, which makes the waiting changes obsolete."""
        self._run = greenlets.SingleFlight("publisher", self._commit)

    def publish(self, record: SessionRecord) -> None:
        """Returns after the attempt, which closes the copy if it is fenced. A later heartbeat repairs a failure."""
        self._put(record)
        self._run()

    def republish(self, record: SessionRecord) -> None:
        """The same for a published session that has changed and is still held. Returns at once."""
        self._put(record)
        self._run.begin()

    def _put(self, record: SessionRecord) -> None:
        waiting = self._published.get(record.id)
        if waiting is None or waiting.epoch <= record.epoch:
            self._published[record.id] = record

    def withdraw(self, session_id: UUID, epoch: int) -> None:
        """Removes the session from the registry, unless it is there at a later epoch. Returns at once."""
        self._withdrawn[session_id] = max(epoch, self._withdrawn.get(session_id, epoch))
        self._run.begin()

    def record_event(self, kind: EventKind, instance_id: str, **details: str) -> None:
        """Returns at once. A failed event waits for another attempt; beyond _MAX_EVENTS the oldest are dropped."""
        self.record_once(kind, instance_id, 0.0, **details)

    def record_once(self, kind: EventKind, instance_id: str, once_secs: float, **details: str) -> None:
        """The same for an event that several instances see: it is dropped when one was stored within `once_secs`."""
        self._events.append((kind, instance_id, once_secs, details))
        self._run.begin()

    def mark_incomplete(self) -> None:
        """Marks the registry as possibly incomplete, as after this instance has registered."""
        self._may_be_incomplete = True

    def catch_up(self) -> None:
        """Starts to repair failed calls; call it after a successful heartbeat. Returns at once."""
        self._comparing = self._may_be_incomplete
        if self._comparing or self._published or self._withdrawn or self._events:
            self._run.begin()

    def flush(self) -> None:
        """Returns when every change that waits now has been attempted."""
        self._run()

    def _commit(self) -> None:
        # No yield between these lines: a change that arrives later belongs to the next run, and must not be lost.
        published, self._published = self._published, {}
        withdrawn, self._withdrawn = self._withdrawn, {}
        comparing, self._comparing = self._comparing, False
        if comparing:
            self._may_be_incomplete = False
        try:
            if comparing:
                self._compare()
            else:
                self._publish(list(published.values()))
                self._remove(withdrawn)
        except Exception as error:
            self._may_be_incomplete = True
            self._failures.failed("publish", error)
        else:
            self._failures.succeeded("publish")
        self._send_events()

    def _compare(self) -> None:
        """Makes the registry agree with the held sessions."""
        stored = {each.id: each for each in self._registry.sessions_of(self._owner)}
        # Read after the registry: it includes the changes that this run took and does not write.
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
        # Read again: during the call a copy may have ended here and been claimed again at a later epoch.
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
            kind, instance_id, once_secs, details = event = self._events.popleft()
            try:
                self._registry.record_event(kind, instance_id, once_secs=once_secs, **details)
            except Exception as error:
                self._events.appendleft(event)
                self._failures.failed("record_event", error)
                return
            self._failures.succeeded("record_event")
