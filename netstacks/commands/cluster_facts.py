"""The facts that `netstacks ha status` shows: from Valkey and PostgreSQL, without a running controller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netstacks.cluster.consistency import inconsistencies
from netstacks.cluster.event_texts import last_failover
from netstacks.cluster.instance_rows import Inconsistency
from netstacks.cluster.model import Event, LostInstance
from netstacks.cluster.overview import ClusterCondition, InstanceStatus, condition_of, summarize, unreadable_problem
from netstacks.commands import circuits, store_facts
from netstacks.commands.circuits import ProviderState
from netstacks.commands.judging import is_blind, judged, silence
from netstacks.commands.store_facts import StoreFacts
from netstacks.errors import RegistryUnavailable
from netstacks.registry.base import Registry, RegistryStatus
from netstacks.registry.figures import problems_of
from netstacks.registry.valkey_streams import MAX_EVENTS
from netstacks.settings import Settings


@dataclass(frozen=True)
class ClusterFacts:
    """What is known. With `error`, Valkey does not list the instances: then `store` has the rows of the living ones.

    `now` is the time of the snapshot by the registry's clock. `healthy` is the number of healthy instances, `unowned`
    that of live sessions without a registered owner: each is None while it is not known.
    """

    registry: RegistryStatus
    condition: ClusterCondition
    store: StoreFacts
    inconsistencies: Sequence[Inconsistency]
    error: RegistryUnavailable | None = None
    now: float = 0.0
    instances: Sequence[InstanceStatus] = ()
    healthy: int | None = None
    lost: Sequence[LostInstance] = ()
    unowned: int | None = None
    providers: Sequence[ProviderState] = ()
    failover: Event | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)


def gather(loaded: Settings, registry: Registry) -> ClusterFacts:
    """The facts now; never raises for a server that is away."""
    status = registry.status()
    try:
        snapshot, lost = registry.snapshot(), registry.lost()
        _, stored = registry.circuits()
        events = registry.events(MAX_EVENTS)
    except RegistryUnavailable as error:
        return _without_registry(loaded, status, error)
    store = store_facts.read(loaded.database_url, snapshot.instances, [each.id for each in lost])
    if status.mode == "sentinel" and status.sentinels is None:
        # A Sentinel that does not answer delays the first views of all.
        status = registry.status()
    ttl_secs, statuses = loaded.ha_stale_instance_ttl_secs, judged(loaded, snapshot, status.figures)
    silent, found = silence(snapshot, ttl_secs), inconsistencies(store.rows)
    unreadable = registry.unreadable()
    problems = [
        silent,
        store.problem,
        *problems_of(status.figures, status.sentinels),
        unreadable_problem(len(unreadable)),
    ]
    condition = condition_of(
        statuses,
        lost,
        expected_instances=loaded.ha_expected_instances,
        is_shared=registry.is_shared,
        now=snapshot.taken_at,
        problems=[*filter(None, problems), *(each.problem for each in found)],
    )
    return ClusterFacts(
        status,
        condition,
        store,
        found,
        now=snapshot.taken_at,
        instances=statuses,
        healthy=None if silent else summarize(statuses).healthy_instances,
        lost=lost,
        unowned=None if is_blind(snapshot, status.figures, ttl_secs) else store.unowned,
        providers=circuits.states(store.providers, stored),
        failover=last_failover(events),
        unreadable=unreadable,
    )


def _without_registry(loaded: Settings, status: RegistryStatus, error: RegistryUnavailable) -> ClusterFacts:
    store = store_facts.read(loaded.database_url, None, [])
    found = inconsistencies(store.rows)
    why = (status.error or str(error)).removeprefix("Valkey: ").rstrip(".")
    problems = [f"Valkey does not answer ({why})", *problems_of(None, status.sentinels)]
    problems += [store.problem] if store.problem else []
    expected = loaded.ha_expected_instances
    condition = ClusterCondition(
        "degraded",
        "; ".join([*problems, *(each.problem for each in found)]),
        expected or max(1, len(store.rows)),
        "setting" if expected else "learned",
    )
    return ClusterFacts(status, condition, store, found, error)
