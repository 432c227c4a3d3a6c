"""The view of the cluster for operators: instances, Valkey, PostgreSQL and events, cached so that requests hardly wait.

All viewers of one instance share one view, whatever their number: it is read again at most once in FRESH_SECS.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from netstacks.cluster.event_texts import last_failover
from netstacks.cluster.model import Event, LostInstance, Snapshot
from netstacks.errors import NotFound, RegistryUnavailable
from netstacks.instance.database_look import NOT_ASKED, DatabaseLook, DatabaseView
from netstacks.instance.shared_query import SharedQuery
from netstacks.peer.clocks import PeerClocks
from netstacks.registry.base import Registry, RegistryStatus
from netstacks.registry.figures import ValkeyFigures
from netstacks.store.pool import Database

# How long a view is reused.
FRESH_SECS = 1.0
# The longest that a request waits for a registry that does not answer.
PATIENCE_SECS = 1.5
# How many events a view has, and how many are searched for the last failover and by the filters of `events`.
SHOWN_EVENTS, SEARCHED_EVENTS = 50, 1000

_NOTHING = Snapshot(0.0, {})


@dataclass(frozen=True, eq=False)
class View:
    """The last view. While the registry does not answer, it shows the cluster of `seen_at`; `registry` says why.

    It is replaced as a whole and compared by identity: what is computed from a view is valid as long as the view is.
    """

    snapshot: Snapshot
    events: tuple[Event, ...]
    registry: RegistryStatus
    seen_at: float | None
    """When the registry last answered, in seconds since 1970; None when it never has."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """The unreadable records of the registry: the problem of each, by its key."""
    clock_skews: Mapping[str, float] = field(default_factory=dict)
    """How far the clocks of other instances are ahead of this host's, in seconds, by instance id."""
    lost: tuple[LostInstance, ...] = ()
    """The instances that were reaped and neither replaced nor dismissed, oldest loss first."""
    valkey: ValkeyFigures | None = None
    """The last figures of Valkey, of `valkey_seen_at` by this host's clock. They stay while it is away."""
    valkey_seen_at: float | None = None
    failover: Event | None = None
    """The last failover that is still among the events."""
    database: DatabaseView = NOT_ASKED


class Observer:
    """Queries the registry and, if it is given, the database on demand; concurrent requests share one query of each.

    `last_snapshot` returns the snapshot of the last heartbeat, which is shown when an outage precedes the first look.
    `check_clock` is that of `Contact`: a clock that was set is noticed before ages by it are shown.
    """

    def __init__(
        self,
        registry: Registry,
        clocks: PeerClocks,
        database: Database | None = None,
        *,
        last_snapshot: Callable[[], Snapshot] = lambda: _NOTHING,
        check_clock: Callable[[float, float], object] = lambda asked_at, registry_now: None,
    ) -> None:
        self._registry = registry
        self._clocks = clocks
        self._last_snapshot = last_snapshot
        self._check_clock = check_clock
        self._view = View(_NOTHING, (), RegistryStatus("disconnected", error="not queried yet"), None)
        self._look = SharedQuery("observer", self._read)
        self._database_look = DatabaseLook(database) if database else None
        self._searched: tuple[Event, ...] | None = None
        self._events_look = SharedQuery("observer-events", self._read_events)

    def look(self) -> View:
        """The current view, or the last one when the registry does not answer within PATIENCE_SECS."""
        give_up_at = time.monotonic() + PATIENCE_SECS
        is_current = self._look.refresh(FRESH_SECS, PATIENCE_SECS)
        if not is_current:
            why = "its answer is malformed, see the log" if self._look.has_failed else "no answer yet"
            self._lose(f"Valkey: {why}")
        if self._database_look is not None:
            view = self._view
            # A snapshot of an earlier time lacks the instances that have joined since.
            registered = None if view.registry.connection == "disconnected" else view.snapshot.instances
            patience_secs = max(0.0, give_up_at - time.monotonic())
            database = self._database_look.look(registered, [each.id for each in view.lost], patience_secs)
            if database is not self._view.database:
                self._view = replace(self._view, database=database)
        return self._view

    def instance_ids(self) -> list[str]:
        """The registered and the lost instances of the last view."""
        return [*self._view.snapshot.instances, *(each.id for each in self._view.lost)]

    def events(self) -> tuple[Event, ...]:
        """The newest SEARCHED_EVENTS events, newest first; the last known ones while the registry does not answer.

        Raises RegistryUnavailable when they have never been read.
        """
        self._events_look.refresh(FRESH_SECS, PATIENCE_SECS)
        if self._searched is None:
            raise RegistryUnavailable("Valkey does not answer, so the events cannot be shown: try again")
        return self._searched

    def drain(self, instance_id: str, by: str) -> None:
        """Requests a drain, which the instance finds at its next heartbeat. Raises NotFound, RegistryUnavailable."""
        if not self._registry.set_state(instance_id, "draining"):
            raise NotFound(f"there is no instance {instance_id}: it has just left")
        self._registry.record_event("draining", instance_id, by=by)
        self._look.expire()

    def cancel_drain(self, instance_id: str) -> None:
        """Requests the end of a drain, which the instance finds at its next heartbeat.

        Raises NotFound, RegistryUnavailable.
        """
        if not self._registry.set_state(instance_id, "active"):
            raise NotFound(f"there is no instance {instance_id}: it has just left")

    def expire(self) -> None:
        """Has the next `look` read the registry again: this instance knows that something has changed."""
        self._look.expire()

    def dismiss(self, instance_id: str, by: str) -> None:
        """Removes a lost instance from the list. Raises NotFound when it is not lost, RegistryUnavailable."""
        if not self._registry.dismiss_lost(instance_id):
            raise NotFound(f"{instance_id} is not in the list of lost instances: it is back, replaced or dismissed")
        self._registry.record_event("dismissed", instance_id, by=by)
        self._look.expire()

    def _read(self) -> None:
        status = self._registry.status()
        try:
            asked_at = time.monotonic()
            snapshot = self._registry.snapshot()
            self._check_clock(asked_at, snapshot.taken_at)
            lost = tuple(self._registry.lost())
            known = self._view.seen_at is not None
            events = tuple(self._registry.events(SHOWN_EVENTS if known else SEARCHED_EVENTS))
        except RegistryUnavailable as error:
            self._lose(status.error or str(error), status)
            return
        now = time.time()
        failover = last_failover(events) or self._view.failover
        self._view = replace(
            self._view,
            snapshot=snapshot,
            events=events[:SHOWN_EVENTS],
            registry=status,
            seen_at=now,
            unreadable=self._registry.unreadable(),
            clock_skews=self._clocks.skews,
            lost=lost,
            valkey=status.figures or self._view.valkey,
            valkey_seen_at=now if status.figures else self._view.valkey_seen_at,
            failover=failover,
        )

    def _lose(self, error: str, status: RegistryStatus | None = None) -> None:
        """Notes that the registry does not answer; everything else stays as it was seen."""
        former = status or self._view.registry
        lost = RegistryStatus("disconnected", former.mode, sentinels=former.sentinels, error=error)
        if lost != self._view.registry:
            self._view = replace(self._view, registry=lost, clock_skews=self._clocks.skews)
        known = self._last_snapshot()
        if known.taken_at > self._view.snapshot.taken_at:
            self._view = replace(self._view, snapshot=known, seen_at=known.taken_at)

    def _read_events(self) -> None:
        with contextlib.suppress(RegistryUnavailable):
            self._searched = tuple(self._registry.events(SEARCHED_EVENTS))
