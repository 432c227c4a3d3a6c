"""The sampler: stores figures of this instance every ten seconds, the history that the page HA status shows."""

import time
from collections import deque
from collections.abc import Callable, Sized
from dataclasses import replace

from netstacks import greenlets
from netstacks.cluster.model import Sample
from netstacks.errors import RegistryUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.memory import resident_bytes
from netstacks.registry.base import MAX_SAMPLES, Registry

INTERVAL_SECS = 10.0


class Sampler:
    """Samples wait while the registry is away, so that the history shows the outage as a rising heartbeat age.

    `clock` is the one that the agent measures durations with.
    """

    def __init__(
        self,
        agent: Agent,
        registry: Registry,
        sessions: Sized,
        loop: LoopWatch,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._sessions = sessions
        self._loop = loop
        self._clock = clock
        self._waiting: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        """Samples that are not stored yet, timed by `clock`: only a later contact tells the registry's time."""
        self.periodic = greenlets.Periodic("sampler", self.sample, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def sample(self) -> None:
        """Takes a sample, and stores all that wait if the registry answers."""
        contact = self._agent.contact
        self._waiting.append(
            Sample(
                at=self._clock(),
                sessions=len(self._sessions),
                heartbeat_age_secs=contact.heartbeat_age_secs,
                loop_lag_secs=self._loop.take_largest_lag(),
                valkey_latency_secs=contact.latency_secs,
                memory_bytes=resident_bytes(),
            )
        )
        if contact.is_kept:
            self._store()

    def _store(self) -> None:
        registry_time = self._agent.contact.registry_time
        stored = [replace(each, at=registry_time(each.at)) for each in self._waiting]
        try:
            self._registry.add_samples(self._agent.me.id, stored)
        except RegistryUnavailable:
            return  # The agent reports an outage. A call that had its effect nevertheless stores them twice: harmless.
        # Only this greenlet takes samples, so these are the ones that were stored.
        self._waiting.clear()
