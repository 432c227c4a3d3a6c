"""The consistency watch: compares this instance with all others on its database and in its registry."""

import contextlib
from collections.abc import Mapping, Sequence

import structlog

from netstacks import greenlets
from netstacks.cluster.consistency import inconsistencies
from netstacks.cluster.databases import different_databases
from netstacks.cluster.instance_rows import NO_REGISTRY, UNKNOWN_REGISTRY, Inconsistency, InstanceRow, look_secs
from netstacks.errors import RegistryUnavailable, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.clock_watch import ClockWatch
from netstacks.instance.other_databases import OtherDatabases
from netstacks.registry.base import Registry
from netstacks.store import instance_settings
from netstacks.store.pool import Database
from netstacks.store.witness import Witness

log = structlog.get_logger()

# How long a look and the removal of the row at the end wait for PostgreSQL: they delay the end of the process.
_LOOK_SECS, _LEAVE_SECS = 3.0, 1.0


class ConsistencyWatch:
    """Renews this instance's row and reads those of the others periodically.

    `settings` are those of this instance that must agree, by name. Two looks in a row must find an inconsistency, or
    miss it, before it is reported or forgotten: while instances start and end, rows are briefly out of date.
    """

    def __init__(
        self,
        agent: Agent,
        registry: Registry,
        database: Database,
        witness: Witness,
        clock_watch: ClockWatch,
        others: OtherDatabases,
        *,
        settings: Mapping[str, str],
        heartbeat_secs: float,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._database = database
        self._witness = witness
        self._clock_watch = clock_watch
        self._others = others
        self._settings = settings
        self._registry_id = UNKNOWN_REGISTRY if registry.is_shared else NO_REGISTRY
        """The id of the registry; while that is away, the last known one."""
        self._first_seen: dict[str, float] = {}
        """By instance id, when the row of another instance had last been renewed at the time this one first read it."""
        self._found: set[str] = set()
        """The keys of what the last look found."""
        self._problems: dict[str, Inconsistency] = {}
        """What is reported, by key."""
        self._recorded: set[str] = set()
        """The keys of the reported problems for which the cluster has an event."""
        self.periodic = greenlets.Periodic("consistency-watch", self.look, look_secs(heartbeat_secs))

    def problems(self) -> tuple[Inconsistency, ...]:
        """What is inconsistent now, the worst first. While PostgreSQL is away, what was inconsistent before."""
        return tuple(self._problems.values())

    def start(self) -> None:
        """Starts the periodic looks; the database must have the current schema."""
        self.periodic.start()

    def leave(self) -> None:
        """Removes the row of this instance, which ends in an orderly way.

        Best effort: a row that remains does not count once the witness lock is free.
        """
        if not self._database.contact.has_answered_recently:
            return
        self.periodic.stop()
        with contextlib.suppress(StoreUnavailable), self._database.transaction(timeout_secs=_LEAVE_SECS) as tx:
            instance_settings.remove(tx, self._agent.me.id)

    def look(self) -> None:
        """Renews the row and compares it with the others now."""
        me = self._me()
        try:
            with self._database.transaction(timeout_secs=_LOOK_SECS) as tx:
                instance_settings.put(tx, me)
                found = instance_settings.read_all(tx)
        except StoreUnavailable:
            # Health reports this; the problems stay as they are.
            return
        rows = [me, *self._living([each for each in found if each.id != me.id])]
        same_registry = [each for each in rows if each.registry == me.registry and not each.is_draining]
        self._report([*self._databases(same_registry, found), *inconsistencies(rows)])
        self._record(same_registry)

    def _databases(self, same_registry: Sequence[InstanceRow], rows: Sequence[InstanceRow]) -> Sequence[Inconsistency]:
        """The inconsistency of `same_registry`, which share this registry, with others that share it without a row."""
        if not same_registry:
            return ()
        others = self._others.look({each.id for each in rows})
        return [different_databases(same_registry, others)] if others else ()

    def _me(self) -> InstanceRow:
        me = self._agent.me
        with contextlib.suppress(RegistryUnavailable):
            self._registry_id = self._registry.cluster_id(self._registry_id)
        # The status of a registry in memory says why Valkey is not used, if one is configured.
        why = self._registry.status().error if self._registry_id == NO_REGISTRY else None
        return InstanceRow(
            id=me.id,
            host=me.host,
            peer_address=me.peer_address,
            version=me.version,
            registry=self._registry_id,
            is_draining=self._agent.is_draining,
            why_no_registry=why or "",
            settings=self._settings,
            secrets=me.secrets_fingerprint,
            reached=self._clock_watch.reached,
            unreachable=self._clock_watch.unreachable,
            recorded=tuple(self._recorded),
        )

    def _living(self, rows: Sequence[InstanceRow]) -> list[InstanceRow]:
        """The rows that were renewed since this instance first read them, and whose instances still hold witness locks.

        So the row of a killed process never counts for its replacement, even where witness locks cannot be read.
        """
        self._first_seen = {each.id: self._first_seen.get(each.id, each.seen_at) for each in rows}
        renewed = [each for each in rows if each.seen_at != self._first_seen[each.id]]
        witnesses = self._witness.of_all([each.id for each in renewed]) if renewed else {}
        return [each for each in renewed if witnesses[each.id] not in ("free", "silent")]

    def _report(self, found: Sequence[Inconsistency]) -> None:
        """Reports what this look and the last one found, and forgets what neither of them did."""
        # No yield in this method: health reads the problems, and the log must say the same.
        now = {each.key: each for each in found}
        confirmed = {key: each for key, each in now.items() if key in self._found or key in self._problems}
        kept = {key: each for key, each in self._problems.items() if key in self._found and key not in now}
        for key in confirmed.keys() - self._problems.keys():
            log.warning("consistency.differs", problem=confirmed[key].problem, advice=confirmed[key].remedy)
        for key in self._problems.keys() - confirmed.keys() - kept.keys():
            log.info("consistency.agrees", former_problem=self._problems[key].problem)
        self._found, self._problems = set(now), confirmed | kept
        self._recorded &= self._problems.keys()

    def _record(self, same_registry: Sequence[InstanceRow]) -> None:
        """Records an event of the cluster for each new problem, by one of the instances that share the registry."""
        known = {key for each in same_registry for key in each.recorded}
        is_first = self._agent.me.id == min((each.id for each in same_registry), default=None)
        for key in self._problems.keys() - self._recorded:
            if key not in known:
                if not is_first:
                    continue
                problem = self._problems[key]
                concerned = problem.about if problem.kind == "unreachable" else self._agent.me.id
                self._agent.record_event("inconsistent", concerned, problem=problem.problem, remedy=problem.remedy)
            self._recorded.add(key)
