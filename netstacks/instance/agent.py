"""This instance's life in the cluster: it joins, says that it lives, reaps who does not, drains and leaves."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.liveness import clock_was_set, living, may_judge
from netstacks.cluster.model import Instance, InstanceState, SessionRecord, Snapshot
from netstacks.errors import RegistryUnavailable
from netstacks.instance.identity import differing_secrets
from netstacks.registry.base import Pulse, Registry

log = structlog.get_logger()


class LiveSessions(Protocol):
    """The sessions that this instance holds, as far as the agent is concerned. All of it returns at once."""

    def records(self) -> list[SessionRecord]:
        """What the registry is to know of each."""

    def fence(self, session_ids: Sequence[UUID]) -> None:
        """Closes the copies of sessions that belong to another instance by now."""

    def recheck(self) -> None:
        """Compares each with its row, as soon as the database answers, and closes the copies that were fenced."""

    def expire_detached(self) -> None:
        """Ends those that have been without their client for too long."""


@dataclass(frozen=True)
class _Contact:
    """With which run of which server, and since when by our clock."""

    server: str
    since: float


class Agent:
    """Call `start` after the fork; `heartbeat` and `reap` may be called by hand as well.

    `on_drain` is called when an administrator asked for a drain through the registry; it returns at once. `clock` only
    measures durations: for how long the registry has been in contact, and whether its clock goes as ours does.
    """

    def __init__(
        self,
        me: Instance,
        registry: Registry,
        sessions: LiveSessions,
        *,
        interval_secs: float,
        ttl_secs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.me = me
        self.snapshot = Snapshot(0.0, {})
        self.differing_secrets: tuple[str, ...] = ()
        self.on_drain: Callable[[], object] = lambda: None
        self._registry = registry
        self._sessions = sessions
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._accepted = False
        self._contact: _Contact | None = None
        self._away = False
        # The same moment by our clock and by the registry's.
        self._times: tuple[float, float] | None = None
        self._server: str | None = None
        self._heart = greenlets.Periodic("heartbeat", self.heartbeat, interval_secs)
        self._reaper = greenlets.Periodic("reaper", self.reap, interval_secs)

    @property
    def is_draining(self) -> bool:
        return self.me.state == "draining"

    @property
    def is_leased(self) -> bool:
        """Whether the registry had our last heartbeat."""
        return self._contact is not None

    @property
    def is_blind(self) -> bool:
        """Whether the age of a heartbeat proves nothing: the registry is away, or not back for long enough.

        Who is about to claim for that age beats once, after reading it, and asks this then: the registry may have come
        back empty since our last heartbeat.
        """
        return not may_judge(self._contact.since if self._contact else None, self._clock(), self._ttl_secs)

    def start(self) -> None:
        self._heart.start()
        self._reaper.start()

    def heartbeat(self) -> None:
        """Says that we live. After an outage, a failover or a reaping, all that we own is registered anew."""
        try:
            pulse = self._registry.heartbeat(self.me.id)
            if not self._accepted:
                self._compare_secrets()
            if pulse.state == "draining" and not self.is_draining:
                self.on_drain()
            elif pulse.state not in (None, self.me.state):
                self._registry.set_state(self.me.id, self.me.state)
            if pulse.state is None or self._contact is None or pulse.server != self._contact.server:
                self._join(pulse)
            self._look()
        except RegistryUnavailable as error:
            self._lose_contact(error)

    def _look(self) -> None:
        now = self._clock()
        self.snapshot = self._registry.snapshot()
        self._mind_clock(now, self.snapshot.taken_at)

    def _mind_clock(self, now: float, registry_now: float) -> None:
        """A clock that was set puts off all judgement, as an absence does."""
        former, self._times = self._times, (now, registry_now)
        if former is None or self._contact is None:
            return
        elapsed_secs, registry_secs = now - former[0], registry_now - former[1]
        if clock_was_set(registry_secs, elapsed_secs, self._ttl_secs):
            self._contact = replace(self._contact, since=now)
            log.warning("registry.clock_set", by_secs=round(registry_secs - elapsed_secs))

    def _compare_secrets(self) -> None:
        """An instance with other secrets than the cluster takes no sessions. Once accepted, it stays accepted."""
        others = [each for each in living(self._registry.snapshot(), self._ttl_secs) if each.id != self.me.id]
        accepted = [each.secrets_fingerprint for each in others if each.state != "refused"]
        self.differing_secrets = differing_secrets(self.me.secrets_fingerprint, accepted)
        self._accepted = not self.differing_secrets
        if not self._accepted:
            log.error("secrets.differ", settings=self.differing_secrets)
        if not self.is_draining:
            self._become("active" if self._accepted else "refused")

    def _become(self, state: InstanceState) -> None:
        if state != self.me.state:
            self.me = replace(self.me, state=state)
            self._registry.set_state(self.me.id, state)

    def _join(self, pulse: Pulse) -> None:
        """Registers this instance and makes the registry agree with what it really holds."""
        # Set first: whatever fails from here on, in other greenlets too, takes it back.
        self._contact, former = _Contact(pulse.server, self._clock()), self._server
        self._server = pulse.server
        self._registry.register(self.me)
        published = self._registry.sessions_of(self.me.id)
        held = self._sessions.records()
        self._publish(held)
        holding = {each.id for each in held}
        for stray in published:
            if stray.id not in holding:
                self._registry.remove(stray.id, self.me.id, stray.epoch)
        if former not in (None, pulse.server) and pulse.is_first:
            self._registry.record_event("failover", self.me.id, sessions=str(len(held)))
        elif pulse.state is None:
            self._registry.record_event("joined", self.me.id)
        self._away = False
        log.info("instance.joined", instance_id=self.me.id, sessions=len(held), server=pulse.server)
        # While we were away, others may have claimed and even ended what we hold.
        self._sessions.recheck()

    def publish(self, record: SessionRecord) -> None:
        """Tells the cluster of a session that this instance holds already; later, if the registry is away."""
        try:
            self._publish([record])
        except RegistryUnavailable as error:
            self._lose_contact(error)

    def _publish(self, records: list[SessionRecord]) -> None:
        answers = self._registry.publish(*records)
        fenced = [each.id for each, answer in zip(records, answers, strict=True) if answer == "fenced"]
        self._sessions.fence(fenced)
        for session_id in fenced:
            self._registry.record_event("fenced", self.me.id, session=str(session_id))

    def withdraw(self, session_id: UUID, epoch: int) -> None:
        """Tells the cluster of a session that this instance no longer holds; later, if the registry is away."""
        try:
            self._registry.remove(session_id, self.me.id, epoch)
        except RegistryUnavailable as error:
            self._lose_contact(error)

    def _lose_contact(self, error: RegistryUnavailable) -> None:
        """The next heartbeat that succeeds joins anew, and so makes up for whatever failed meanwhile."""
        self._contact = None
        if not self._away:
            self._away = True
            log.warning("registry.away", error=str(error))

    def reap(self) -> None:
        """Ends what our users have left behind, and forgets instances that died, unless we might be wrong about it."""
        self._sessions.expire_detached()
        try:
            # Others may have beaten by a new time already, when we have not yet.
            self._mind_clock(self._clock(), self._registry.now())
            for instance_id in [] if self.is_blind else self._registry.reap(self._ttl_secs):
                log.warning("instance.reaped", instance_id=instance_id)
                self._registry.record_event("reaped", instance_id, by=self.me.id)
        except RegistryUnavailable as error:
            self._lose_contact(error)

    def drain(self) -> None:
        """From now on this instance takes nothing new; returns at once."""
        if self.is_draining:
            return
        try:
            self._become("draining")
        except RegistryUnavailable as error:
            self._lose_contact(error)

    def leave(self) -> None:
        """Says that this instance is gone, with everything it still has in the registry."""
        self._heart.stop()
        self._reaper.stop()
        try:
            self._registry.deregister(self.me.id)
            self._registry.record_event("left", self.me.id)
        except RegistryUnavailable as error:
            log.warning("instance.not_deregistered", instance_id=self.me.id, error=str(error))
        log.info("instance.left", instance_id=self.me.id)
