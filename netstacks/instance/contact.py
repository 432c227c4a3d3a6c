"""Contact with the registry: heartbeats alone decide it, and its age decides whether other heartbeats can be judged."""

from collections.abc import Callable

import structlog

from netstacks.cluster.liveness import clock_was_set, may_judge
from netstacks.errors import RegistryUnavailable
from netstacks.registry.base import Pulse

log = structlog.get_logger()


class Contact:
    """The contact of one instance. `server` is the run id of the server that answered last.

    `clock` only measures durations: the age of the contact, and the progress of the registry's clock.
    """

    def __init__(self, ttl_secs: float, clock: Callable[[], float]) -> None:
        self.server: str | None = None
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._since: float | None = None
        """When the contact began, by `clock`; None while there is none."""
        self._is_missed = False
        """Whether the loss of contact was logged; one line for each outage."""
        self._times: tuple[float, float] | None = None
        """One moment by `clock` and by the registry's clock."""

    @property
    def is_kept(self) -> bool:
        return self._since is not None

    @property
    def is_blind(self) -> bool:
        """Whether the age of a heartbeat proves nothing: the registry is away, or has not been back for a TTL."""
        return not may_judge(self._since, self._clock(), self._ttl_secs)

    def keep(self, pulse: Pulse, asked_at: float) -> bool:
        """Notes a successful heartbeat; True when contact begins anew, with another server or after lost data.

        `asked_at` is when it was sent, by `clock`.
        """
        # No yield in this method: another greenlet would judge by the age of the former contact.
        begins = self._since is None or pulse.state is None or pulse.server != self.server
        if begins:
            self._since = self._clock()
        self.server, self._is_missed = pulse.server, False
        self.check_clock(asked_at, pulse.at)
        return begins

    def lose(self, error: RegistryUnavailable) -> None:
        """Notes a failed heartbeat."""
        self.end()
        if not self._is_missed:
            self._is_missed = True
            log.warning("registry.away", error=str(error))

    def end(self) -> None:
        self._since = None

    def check_clock(self, now: float, registry_now: float) -> None:
        """Restarts the contact when the registry's clock was set: ages of heartbeats prove nothing then.

        Both times are of the same moment.
        """
        former, self._times = self._times, (now, registry_now)
        if former is None or self._since is None:
            return
        elapsed_secs, registry_secs = now - former[0], registry_now - former[1]
        if clock_was_set(registry_secs, elapsed_secs, self._ttl_secs):
            self._since = now
            log.warning("registry.clock_set", by_secs=round(registry_secs - elapsed_secs))
