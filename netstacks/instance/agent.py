"""The agent of this instance in the registry: it joins, sends heartbeats, reaps dead instances, drains and leaves."""

import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.liveness import living
from netstacks.cluster.model import EventKind, Instance, InstanceState, Load, LossProof, SessionRecord, Snapshot
from netstacks.errors import RegistryUnavailable
from netstacks.instance import metrics
from netstacks.instance.contact import Contact
from netstacks.instance.failures import FailureLog
from netstacks.instance.identity import differing_secrets
from netstacks.instance.outages import Outages
from netstacks.instance.publisher import LiveSessions, Publisher
from netstacks.instance.replacements import Replacements
from netstacks.registry.base import Pulse, Registry

log = structlog.get_logger()


class Agent:
    """Call `start` after the fork; `heartbeat` and `reap` may also be called directly.

    Only a failed heartbeat loses contact with the registry. A later heartbeat repairs every other failed call.

    Each heartbeat reports `load`. `on_drain` is called when an administrator requests a drain, through the registry or
    the API; it must return at once, and it may be called again before the drain begins. `on_cancel` is called when an
    administrator cancels the drain through the registry; it must return at once, and tells whether the drain could
    still be cancelled. `clock` only measures durations.
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
        on_drain: Callable[[], object] = lambda: None,
        on_cancel: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.me = me
        """This instance as the registry shows it; replaced as a whole, so that readers never see a mixture."""
        self.snapshot = Snapshot(0.0, {})
        """The last snapshot. It stays during an outage of the registry: blind mode uses it to find peers."""
        self.differing_secrets: tuple[str, ...] = ()
        self.on_drain = on_drain
        self._on_cancel = on_cancel
        # Connections of its own: pages that use up the others must not delay a heartbeat.
        self._registry = registry.reserved()
        self._sessions = sessions
        self._load = load
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._began_at = clock()
        self._failures = FailureLog()
        self._publisher = Publisher(me.id, self._registry, sessions)
        self._accepted = False
        """Whether the secrets of this instance have matched the cluster's once. It never becomes False again."""
        self._contact = Contact(ttl_secs, clock)
        self._outages = Outages(self._publisher, me.id, ttl_secs, clock)
        self._reported_health = ""
        """The health in the last heartbeat, whether it has arrived or not."""
        self._replacements = Replacements(self._registry, self._publisher, self._failures, interval_secs)
        self._joined = False
        """Whether this instance is registered with the server that it has contact with. Lost with the contact."""
        self._left = False
        """Whether `leave` was called: no heartbeat registers this instance afterwards."""
        self._told_at = 0.0
        """When the registry last confirmed a state of this instance. An answer to an earlier heartbeat is outdated."""
        self._saw_drain = False
        """Whether the registry has shown the current drain: only then does `active` in it mean a cancel."""
        self._is_resuming = False
        """Whether the registry may still show a drain that was cancelled here."""
        self._beating = greenlets.SingleFlight("beat", self._beat)
        self._heartbeats = greenlets.Periodic("heartbeat", self.beat_anew, interval_secs)
        self._reaper = greenlets.Periodic("reaper", self.reap, interval_secs)

    @property
    def is_draining(self) -> bool:
        return self.me.state == "draining"

    @property
    def contact(self) -> Contact:
        return self._contact

    @property
    def heartbeat_age_secs(self) -> float:
        return self._contact.heartbeat_age_secs

    @property
    def is_leased(self) -> bool:
        """Whether the registry received the last heartbeat and has this instance registered."""
        return self._contact.is_kept and self._joined

    @property
    def is_blind(self) -> bool:
        """Whether the age of a heartbeat proves nothing: the registry is unreachable, or has been back for too short.

        A caller that claims a session because of such an age first reads the age, then calls `beat_anew`, and only
        then reads this property: the registry may have come back empty since the last heartbeat.
        """
        return self._contact.is_blind

    def background(self) -> tuple[greenlets.Background, ...]:
        """The greenlets that run from `start` to `leave`."""
        return self._heartbeats, self._reaper

    def advertise(self, peer_address: str) -> None:
        """Sets the `host:port` of this worker's private listener; call it before `start`.

        Not a constructor argument: the kernel chooses the port in the worker, after the parts have been built.
        """
        self.me = replace(self.me, peer_address=peer_address)

    def start(self) -> None:
        self._heartbeats.start()
        self._reaper.start()

    def beat_anew(self) -> None:
        """Returns after a heartbeat that began after this call; concurrent callers share one heartbeat.

        After an outage, a failover or a reaping, the heartbeat starts to register everything this instance owns again,
        and does not wait for it.
        """
        self._beating()

    def report_health(self) -> None:
        """Has a heartbeat sent now if the health has changed since the last one. Returns at once."""
        if self._load().health != self._reported_health:
            self._heartbeats.wake()

    def heartbeat(self) -> None:
        """Sends a heartbeat, and tries to register what the registry lacks before it returns."""
        self.beat_anew()
        self._publisher.flush()

    def _beat(self) -> None:
        if self._left:
            return
        asked_at, load = self._clock(), self._load()
        self._reported_health = load.health
        try:
            pulse = self._registry.heartbeat(self.me.id, load)
        except RegistryUnavailable as error:
            self._contact.lose(error)
            return
        self._outages.note(self._contact, pulse)
        if self._contact.keep(pulse, asked_at):
            # The server may have lost what it confirmed: its `active` cancels no drain.
            self._joined = self._saw_drain = False
        if asked_at >= self._told_at:
            self._follow(pulse.state)
        with self._failures.tolerate("register"):
            if not self._accepted:
                # Before `_join`: an instance with other secrets must register as refused, never as active.
                self._compare_secrets()
            if not self._joined:
                self._join(pulse)
            elif replaced := self._replacements.replace_by(self.me):
                self._publisher.record_event("replaced", replaced, by=self.me.id)
        self._contact.problem = self._failures.error_of("register")
        with self._failures.tolerate("snapshot"):
            self._look()
        self._publisher.catch_up()

    def _follow(self, state: InstanceState | None) -> None:
        """Follows an administrator's request for a drain, or its cancel; corrects any other state in the registry."""
        if state == "draining" and not self._is_resuming:
            self._saw_drain = True
            # This instance becomes `draining` when it begins.
            if not self.is_draining:
                self.on_drain()
        elif state == "active" and self.is_draining and self._saw_drain and self._on_cancel():
            self._saw_drain = False
        elif state not in (None, self.me.state):
            self._tell_state()

    def _look(self) -> None:
        now = self._clock()
        self.snapshot = self._registry.snapshot()
        self._contact.check_clock(now, self.snapshot.taken_at)
        if self.me.id in self.snapshot.unreadable:
            # A heartbeat renews only a part of the record, so peers would not find this instance until it registers.
            self._register()

    def _register(self) -> None:
        # With its health: it must not seem fit until the next heartbeat.
        self._registry.register(replace(self.me, **vars(self._load())))

    def _compare_secrets(self) -> None:
        """Refuses sessions while the secrets differ from those of the cluster. Once accepted, it stays accepted."""
        others = [each for each in living(self._registry.snapshot(), self._ttl_secs) if each.id != self.me.id]
        accepted = [each.secrets_fingerprint for each in others if each.state != "refused"]
        former, self.differing_secrets = (
            self.differing_secrets,
            differing_secrets(self.me.secrets_fingerprint, accepted),
        )
        self._accepted = not self.differing_secrets
        if self.differing_secrets and self.differing_secrets != former:
            log.error("secrets.differ", settings=self.differing_secrets)
        if not self.is_draining:
            self._become("active" if self._accepted else "refused")

    def _become(self, state: InstanceState) -> None:
        if state != self.me.state:
            self.me = replace(self.me, state=state)
            self._tell_state()

    def _tell_state(self) -> None:
        """Best effort: after a failure, the next heartbeat finds the difference and calls this again."""
        with self._failures.tolerate("set_state"):
            self._registry.set_state(self.me.id, self.me.state)
            self._told_at = self._clock()
            self._is_resuming = False

    def _join(self, pulse: Pulse) -> None:
        """Registers this instance, and has the publisher bring the registry in line with the sessions it holds."""
        # By the registry's clock, as heartbeats are: the clocks of hosts may differ.
        self.me = replace(self.me, started_at=pulse.at - (self._clock() - self._began_at))
        self._register()
        self._joined = True
        self._publisher.mark_incomplete()
        held = len(self._sessions.records())
        replaced = self._replacements.replace_by(self.me)
        failover = self._outages.take_failover()
        if failover is not None:
            self._publisher.record_event("failover", self.me.id, sessions=str(held), **failover)
        elif pulse.state is None:
            self._publisher.record_event("joined", self.me.id, **({"replaces": replaced} if replaced else {}))
        log.info("instance.joined", instance_id=self.me.id, sessions=held, server=pulse.server)
        # During the outage, peers may have claimed, and even ended, sessions that this instance still holds.
        self._sessions.recheck()

    def publish(self, record: SessionRecord) -> None:
        """Publishes a session that this instance holds. Returns after the first attempt; never raises."""
        self._publisher.publish(record)

    def republish(self, record: SessionRecord) -> None:
        """Publishes a session that has changed and that this instance still holds. Returns at once; never raises."""
        self._publisher.republish(record)

    def withdraw(self, session_id: UUID, epoch: int) -> None:
        """Removes a session that this instance no longer holds from the registry. Returns at once; never raises."""
        self._publisher.withdraw(session_id, epoch)

    def record_event(self, kind: EventKind, instance_id: str, once_secs: float = 0.0, /, **details: str) -> None:
        """Records an event of the cluster, as `Registry.record_event` does. Returns at once; never raises."""
        self._publisher.record_once(kind, instance_id, once_secs, **details)

    def report_loss(self, instance_id: str, proof: LossProof) -> None:
        """Records that this instance has declared another one dead. Never raises."""
        metrics.REAPED.inc()
        self._replacements.report(instance_id, proof, self.me.id)

    def reap(self) -> None:
        """Ends detached sessions that have expired, and unregisters stale instances unless this instance is blind."""
        self._sessions.expire_detached()
        with self._failures.tolerate("reap"):
            # The registry's clock may have been set since the last heartbeat; heartbeats of peers use the new time.
            self._contact.check_clock(self._clock(), self._registry.now())
            for instance_id in [] if self.is_blind else self._registry.reap(self._ttl_secs, by=self.me.id):
                self.report_loss(instance_id, "silence")

    def drain(self) -> None:
        """Makes this instance `draining`: it accepts no new sessions from now on."""
        if not self.is_draining:
            self._become("draining")

    def resume(self) -> None:
        """Ends a drain that was cancelled: this instance accepts new sessions again."""
        self._saw_drain = False
        self._is_resuming = True
        self._become("active" if self._accepted else "refused")

    def leave(self) -> None:
        """Unregisters this instance and its remaining sessions, after the last heartbeat and batch have ended."""
        self._heartbeats.stop()
        self._reaper.stop()
        self._left = True
        # Wait for a heartbeat or a batch that is under way: it could register something after `deregister`.
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
