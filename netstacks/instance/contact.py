"""Contact with the registry: only heartbeats decide whether there is any, and its age decides what may be judged."""

from collections.abc import Callable

import structlog

from netstacks.cluster.liveness import clock_was_set, may_judge
from netstacks.errors import RegistryUnavailable
from netstacks.registry.base import Pulse

log = structlog.get_logger()


class Contact:
    """`clock` only measures durations: for how long there is contact, and whether the registry's clock goes as ours.

    `server` is the run of the server that answered last.
    """

    def __init__(self, ttl_secs: float, clock: Callable[[], float]) -> None:
        self.server: str | None = None
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._since: float | None = None
        """Of our clock; None while there is no contact."""
        self._is_missed = False
        self._times: tuple[float, float] | None = None
        """The same moment by our clock and by the registry's."""

    @property
    def is_kept(self) -> bool:
        return self._since is not None

    @property
    def is_blind(self) -> bool:
        """Whether the age of a heartbeat proves nothing: the registry is away, or not back for long enough."""
        return not may_judge(self._since, self._clock(), self._ttl_secs)

    def keep(self, pulse: Pulse, asked_at: float) -> bool:
        """After a heartbeat: whether contact begins anew, with another server or with one that does not know us."""
        # No yield here: no greenlet may see the age of the former contact meanwhile.
        begins = self._since is None or pulse.state is None or pulse.server != self.server
        if begins:
            self._since = self._clock()
        self.server, self._is_missed = pulse.server, False
        self.mind_clock(asked_at, pulse.at)
        return begins

    def lose(self, error: RegistryUnavailable) -> None:
        """After a heartbeat that failed."""
        self.end()
        if not self._is_missed:
            self._is_missed = True
            log.warning("registry.away", error=str(error))

    def end(self) -> None:
        self._since = None

    def mind_clock(self, now: float, registry_now: float) -> None:
        """A clock that was set puts off all judgement, as an absence does. Both times are of the same moment."""
        former, self._times = self._times, (now, registry_now)
        if former is None or self._since is None:
            return
        elapsed_secs, registry_secs = now - former[0], registry_now - former[1]
        if clock_was_set(registry_secs, elapsed_secs, self._ttl_secs):
            self._since = now
            log.warning("registry.clock_set", by_secs=round(registry_secs - elapsed_secs))
