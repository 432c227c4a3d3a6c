"""The view of the cluster for operators: instances, Valkey and events, cached so that requests hardly wait."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netstacks import greenlets
from netstacks.cluster.model import Event, Snapshot
from netstacks.errors import NotFound, RegistryUnavailable
from netstacks.greenlets import Greenlet
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.base import Registry, RegistryStatus

# How long a view is reused.
FRESH_SECS = 1.0
# The longest that a request waits for a registry that does not answer.
PATIENCE_SECS = 1.5


@dataclass(frozen=True)
class View:
    """The last view. While the registry does not answer, it shows the cluster of `seen_at`; `registry` says why."""

    snapshot: Snapshot
    events: tuple[Event, ...]
    registry: RegistryStatus
    seen_at: float | None
    """When the registry last answered, by this host's clock; None before it ever did."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """The unreadable records of the registry: the problem of each, by its key."""
    clock_skews: Mapping[str, float] = field(default_factory=dict)
    """How far the clocks of other instances are ahead of this host's, in seconds, by instance id."""


class Observer:
    """Queries the registry on demand; concurrent requests share one query."""

    def __init__(self, registry: Registry, clocks: PeerClocks) -> None:
        self._registry = registry
        self._clocks = clocks
        self._view = View(Snapshot(0.0, {}), (), RegistryStatus("disconnected", error="not queried yet"), None)
        self._looked_at = 0.0
        self._looking: Greenlet | None = None

    def look(self) -> View:
        """The current view, or the last one when the registry does not answer within PATIENCE_SECS."""
        return replace(self._look_soon(), clock_skews=self._clocks.skews)

    def _look_soon(self) -> View:
        if time.monotonic() - self._looked_at > FRESH_SECS:
            if self._looking is None or self._looking.ready():
                self._looking = greenlets.spawn("observer", self._look)
            self._looking.join(PATIENCE_SECS)
            if not self._looking.successful():
                why = "its answer is malformed, see the log" if self._looking.ready() else "no answer yet"
                return replace(self._view, registry=RegistryStatus("disconnected", error=f"Valkey: {why}"))
        return self._view

    def drain(self, instance_id: str, by: str) -> None:
        """Requests a drain, which the instance finds at its next heartbeat. Raises NotFound, RegistryUnavailable."""
        if not self._registry.set_state(instance_id, "draining"):
            raise NotFound(f"there is no instance {instance_id}: it has just left")
        self._registry.record_event("draining", instance_id, by=by)
        self._looked_at = 0.0

    def _look(self) -> None:
        status = self._registry.status()
        try:
            snapshot, events = self._registry.snapshot(), tuple(self._registry.events())
            self._view = View(snapshot, events, status, time.time(), self._registry.unreadable())
        except RegistryUnavailable as error:
            self._view = replace(self._view, registry=RegistryStatus("disconnected", error=status.error or str(error)))
        self._looked_at = time.monotonic()
