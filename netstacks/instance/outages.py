"""Outages and failovers of the registry: what a heartbeat that succeeds again tells about them, as events."""

import time
from collections.abc import Callable
from typing import Literal

from netstacks.instance.contact import Contact
from netstacks.instance.publisher import Publisher
from netstacks.registry.base import Pulse


class Outages:
    """All instances see an outage at once: of their events within the TTL, the registry keeps the first.

    The instance whose heartbeat is the first one to a new server records the failover.
    """

    def __init__(
        self, publisher: Publisher, instance_id: str, ttl_secs: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._publisher = publisher
        self._instance_id = instance_id
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._failover: dict[str, str] | None = None
        """The details of a failover that is still to be recorded."""

    def note(self, contact: Contact, pulse: Pulse) -> None:
        """Compares the answer to a heartbeat with the contact before it. Returns at once."""
        if contact.server is None:
            return  # The registry was away when this instance started; those that had contact report it.
        if contact.outage is not None:
            away_secs = f"{self._clock() - contact.outage.since:.0f}"
            self._record("valkey_lost", error=contact.outage.error, away_secs=away_secs)
            self._record("valkey_back", away_secs=away_secs)
        if pulse.server != contact.server and pulse.is_first:
            self._failover = {"former": contact.address, "address": pulse.address}

    def _record(self, kind: Literal["valkey_lost", "valkey_back"], **details: str) -> None:
        self._publisher.record_once(kind, self._instance_id, self._ttl_secs, **details)

    def take_failover(self) -> dict[str, str] | None:
        """The details of a failover that is not recorded yet: the caller records it."""
        taken, self._failover = self._failover, None
        return taken
