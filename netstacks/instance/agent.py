"""This instance's life in the cluster: it joins, beats, reaps instances that died, drains and leaves."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.liveness import living
from netstacks.cluster.model import EventKind, Instance, InstanceState, Load, SessionRecord, Snapshot
from netstacks.errors import RegistryUnavailable
from netstacks.instance.contact import Contact
from netstacks.instance.failures import FailureLog
from netstacks.instance.identity import differing_secrets
from netstacks.instance.publisher import HeldSessions, Publisher
from netstacks.registry.base import Pulse, Registry

log = structlog.get_logger()


class LiveSessions(HeldSessions, Protocol):
    """The sessions that this instance holds, as far as the agent is concerned. All of it returns at once."""

    def recheck(self) -> None:
        """Compares each with its row, as soon as the database answers, and closes the copies that were fenced."""

    def expire_detached(self) -> None:
        """Ends those that have been without their client for too long."""


class Agent:
    """Call `start` after the fork; `heartbeat` and `reap` may be called by hand as well.

    Only a heartbeat that fails loses contact. What else the registry does not take is repaired at a later heartbeat.

    `load` is what each heartbeat tells. `on_drain` is called when an administrator asked for a drain through the
    registry; it returns at once. `clock` only measures durations.
    """

    def __init__(
        self,
        me: Instance,
        registry: Registry,
        sessions: LiveSessions,
        *,
        interval_secs: float,
        ttl_secs: float,
        load: Callable[[], Load] = Load,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.me = me
        self.snapshot = Snapshot(0.0, {})
        self.differing_secrets: tuple[str, ...] = ()
        self.on_drain: Callable[[], object] = lambda: None
        # Pages that use up the connections delay no heartbeat.
        self._registry = registry.reserved()
        self._sessions = sessions
        self._load = load
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._failures = FailureLog()
        self._publisher = Publisher(me.id, self._registry, sessions)
        self._accepted = False
        self._contact = Contact(ttl_secs, clock)
        self._joined = False
        """Whether this instance is registered with the server that it has contact with."""
        self._failed_over = False
        """Whether a failover is still to be told as an event."""
        self._left = False
        self._beating = greenlets.SingleFlight("beat", self._beat)
        self._heart = greenlets.Periodic("heartbeat", self.beat_anew, interval_secs)
        self._reaper = greenlets.Periodic("reaper", self.reap, interval_secs)

    @property
    def is_draining(self) -> bool:
        return self.me.state == "draining"

    @property
    def is_leased(self) -> bool:
        """Whether the registry had our last heartbeat, and knows us."""
        return self._contact.is_kept and self._joined

    @property
    def is_blind(self) -> bool:
        """Whether the age of a heartbeat proves nothing: the registry is away, or not back for long enough.

        A caller that is about to claim for that age calls `beat_anew`, after reading it, and asks this then: since our
        last heartbeat the registry may have come back empty.
        """
        return self._contact.is_blind

    def background(self) -> tuple[greenlets.Background, ...]:
        """The greenlets that run from `start` to `leave`."""
        return self._heart, self._reaper

    def start(self) -> None:
        self._heart.start()
        self._reaper.start()

    def beat_anew(self) -> None:
        """Returns after a heartbeat that began after this call; all that call meanwhile share one.

        After an outage, a failover or a reaping, all that we own is registered anew; that is not waited for.
        """
        self._beating()

    def heartbeat(self) -> None:
        """Beats, and returns when what the registry lacks was registered, or could not be."""
        self.beat_anew()
        self._publisher.flush()

    def _beat(self) -> None:
        if self._left:
            return
        asked_at = self._clock()
        try:
            pulse = self._registry.heartbeat(self.me.id, self._load())
        except RegistryUnavailable as error:
            self._contact.lose(error)
            return
        former = self._contact.server
        if self._contact.keep(pulse, asked_at):
            self._joined = False
        if former not in (None, pulse.server) and pulse.is_first:
            self._failed_over = True
        if pulse.state == "draining" and not self.is_draining:
            self.on_drain()
        elif pulse.state not in (None, self.me.state):
            self._tell_state()
        with self._failures.tolerate("register"):
            if not self._accepted:
                self._compare_secrets()
            if not self._joined:
                self._join(pulse)
        with self._failures.tolerate("snapshot"):
            self._look()
        self._publisher.catch_up()

    def _look(self) -> None:
        now = self._clock()
        self.snapshot = self._registry.snapshot()
        self._contact.mind_clock(now, self.snapshot.taken_at)
        if self.me.id in self.snapshot.unreadable:
            # Others cannot find this instance, and its heartbeats repair only a part of its record.
            self._registry.register(self.me)

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
            self._tell_state()

    def _tell_state(self) -> None:
        """When that fails, the next heartbeat finds that the registry has another state."""
        with self._failures.tolerate("set_state"):
            self._registry.set_state(self.me.id, self.me.state)

    def _join(self, pulse: Pulse) -> None:
        """Registers this instance and has the registry made to agree with what it really holds."""
        self._registry.register(self.me)
        self._joined = True
        self._publisher.doubt()
        held = len(self._sessions.records())
        if self._failed_over:
            self._failed_over = False
            self._publisher.record_event("failover", self.me.id, sessions=str(held))
        elif pulse.state is None:
            self._publisher.record_event("joined", self.me.id)
        log.info("instance.joined", instance_id=self.me.id, sessions=held, server=pulse.server)
        # While we were away, others may have claimed and even ended what we hold.
        self._sessions.recheck()

    def publish(self, record: SessionRecord) -> None:
        """Tells the cluster of a session that this instance holds already; later, if the registry does not take it.

        Returns when it was tried; a copy that belongs to another instance by now is closed then. Never raises.
        """
        self._publisher.publish(record)

    def withdraw(self, session_id: UUID, epoch: int) -> None:
        """Tells the cluster of a session that this instance no longer holds, soon. Returns at once."""
        self._publisher.withdraw(session_id, epoch)

    def record_event(self, kind: EventKind, instance_id: str, **details: str) -> None:
        """Has an event of the cluster kept, soon. Returns at once and never raises."""
        self._publisher.record_event(kind, instance_id, **details)

    def reap(self) -> None:
        """Ends what our users have left behind, and forgets instances that died, unless we might be wrong about it."""
        self._sessions.expire_detached()
        with self._failures.tolerate("reap"):
            # Others may have beaten by a new time already, when we have not yet.
            self._contact.mind_clock(self._clock(), self._registry.now())
            for instance_id in [] if self.is_blind else self._registry.reap(self._ttl_secs):
                log.warning("instance.reaped", instance_id=instance_id)
                self._publisher.record_event("reaped", instance_id, by=self.me.id)

    def drain(self) -> None:
        """From now on this instance takes nothing new."""
        if not self.is_draining:
            self._become("draining")

    def leave(self) -> None:
        """Says that this instance is gone, with everything it still has in the registry."""
        self._heart.stop()
        self._reaper.stop()
        self._left = True
        # A heartbeat or a batch that is under way could register something after we have left.
        self._beating()
        self._publisher.flush()
        self._contact.end()
        try:
            self._registry.deregister(self.me.id)
            self._publisher.record_event("left", self.me.id)
            self._publisher.flush()
        except RegistryUnavailable as error:
            log.warning("instance.not_deregistered", instance_id=self.me.id, error=str(error))
        log.info("instance.left", instance_id=self.me.id)
