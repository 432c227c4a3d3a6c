"""Contact with the registry: heartbeats alone decide it, and its age decides whether other heartbeats can be judged."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from netstacks.cluster.liveness import clock_was_set, may_judge
from netstacks.errors import RegistryUnavailable
from netstacks.instance import metrics
from netstacks.registry.base import Pulse

log = structlog.get_logger()


@dataclass(frozen=True)
class Outage:
    """An outage of the registry: `since` is when its first heartbeat failed, by the clock of the contact."""

    since: float
    error: str


class Contact:
    """The contact of one instance with the registry.

    `clock` only measures durations: the age of the contact, and the progress of the registry's clock.
    """

    def __init__(self, ttl_secs: float, clock: Callable[[], float]) -> None:
        self.server: str | None = None
        """The run id of the server that answered last."""
        self.address = ""
        """Its `host:port`."""
        self.latency_secs = 0.0
        """The duration of the last successful heartbeat."""
        self.outage: Outage | None = None
        """The present outage of the registry; None when the last heartbeat has succeeded."""
        self.problem: str | None = None
        """Why the registry did not take the last heartbeat, or the registration with it, as a text; else None."""
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._since: float | None = None
        """When the contact began, by `clock`; None while there is none."""
        self._beat_at = clock()
        """When the last successful heartbeat was sent, by `clock`; before the first one, when this object was made."""
        self._times: tuple[float, float] | None = None
        """One moment by `clock` and by the registry's clock."""

    @property
    def is_kept(self) -> bool:
        return self._since is not None

    @property
    def is_blind(self) -> bool:
        """Whether the age of a heartbeat proves nothing: the registry is away, or has not been back for a TTL."""
        return not may_judge(self._since, self._clock(), self._ttl_secs)

    @property
    def heartbeat_age_secs(self) -> float:
        """The time since the last successful heartbeat was sent."""
        return self._clock() - self._beat_at

    def keep(self, pulse: Pulse, asked_at: float) -> bool:
        """Notes a successful heartbeat; True when contact begins anew, with another server or after lost data.

        `asked_at` is when it was sent, by `clock`.
        """
        # No yield in this method: another greenlet would judge by the age of the former contact.
        begins = self._since is None or pulse.state is None or pulse.server != self.server
        if begins:
            self._since = self._clock()
        self.server, self.address = pulse.server, pulse.address
        self.outage, self.problem = None, None
        self._beat_at, self.latency_secs = asked_at, self._clock() - asked_at
        metrics.HEARTBEAT_SECS.observe(self.latency_secs)
        self.check_clock(asked_at, pulse.at)
        return begins

    def lose(self, error: RegistryUnavailable) -> None:
        """Notes a failed heartbeat."""
        metrics.HEARTBEAT_FAILURES.inc()
        self.end()
        self.problem = str(error)
        if self.outage is None:
            self.outage = Outage(self._clock(), self.problem)
            log.warning("registry.away", error=str(error))

    def end(self) -> None:
        self._since = None

    def check_clock(self, asked_at: float, registry_now: float) -> None:
        """Restarts the contact when the registry's clock was set: ages of heartbeats prove nothing then.

        Call it as soon as the registry has answered with its time. `asked_at` is when it was asked, by `clock`.
        """
        if self._times is None:
            self._times = asked_at, registry_now
            return
        former_at, former_registry = self._times
        registry_secs = registry_now - former_registry
        # The registry has read its clock at some moment since the call: a slow answer must not look like a set clock.
        now = min(max(former_at + registry_secs, asked_at), self._clock())
        self._times = now, registry_now
        elapsed_secs = now - former_at
        if self._since is not None and clock_was_set(registry_secs, elapsed_secs, self._ttl_secs):
            self._since = now
            log.warning("registry.clock_set", by_secs=round(registry_secs - elapsed_secs))

    def registry_time(self, at: float) -> float:
        """The registry's time at the moment `at` by `clock`, as its clock runs now; call it only after a contact."""
        assert self._times is not None, "there was no contact that could tell the registry's time"
        return self._times[1] + at - self._times[0]
