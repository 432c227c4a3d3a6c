"""The health of this instance, judged from facts gathered beforehand (docs/protocol.md, 2).

A failed shared dependency is `degraded` with status 200: every instance sees the failure, and with 503 the load
balancer would have no instance left. 503 is for conditions that do not affect the other instances.
"""

from dataclasses import dataclass
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from netstacks.cluster.model import MAX_REASON, ClusterSummary, HealthStatus

ValkeyStatus = Literal["connected", "disconnected", "disabled"]

# Facts that are this many refreshes old mean that the greenlet which refreshes them is stuck.
MAX_MISSED_REFRESHES = 3


@dataclass(frozen=True)
class Facts:
    """The latest facts. `started_at` and `taken_at` are by the same clock as `now` in `judge`."""

    instance_id: str
    version: str
    started_at: float
    taken_at: float
    database: bool
    """Whether PostgreSQL answers."""
    valkey: ValkeyStatus
    cluster: ClusterSummary
    local_sessions: int
    cpu_share: float = 0.0
    """The recent share of one core, above 1 when native threads compute beside the event loop."""
    waiting: int = 0
    """The number of clients in the admission queue."""
    leased: bool = True
    """Whether the registry has a current heartbeat of this instance."""
    starting: bool = False
    draining: bool = False
    differing_secrets: tuple[str, ...] = ()
    """The settings whose values differ from the rest of the cluster."""
    schema_problem: str | None = None
    """The problem with the schema or the vault, as a text."""
    database_problem: str | None = None
    """What PostgreSQL cannot do, or why it does not answer, as a text."""
    valkey_problem: str | None = None
    """Why Valkey does not answer, as a text."""
    lease_problem: str | None = None
    """Why Valkey has no heartbeat of this instance, as a text."""
    disk_problem: str | None = None
    """The problem with the disk of the spool, as a text."""
    inconsistencies: tuple[str, ...] = ()
    """The differences between this instance and others on the same database, each as a sentence."""
    witness_held: bool = True
    """Whether this instance holds its advisory lock in PostgreSQL, which shows others that it is alive."""
    died: tuple[str, ...] = ()
    """The background greenlets that an error has ended."""
    hub_blocked: bool = False
    """Whether stalls took more than half of the event loop's recent time."""


class ClusterHealth(TypedDict):
    registered_instances: int
    healthy_instances: int
    total_sessions: int
    local_sessions: int
    """The sessions of this instance."""


class HealthJson(TypedDict):
    """The health of an instance."""

    status: HealthStatus
    instance_id: str
    uptime_secs: int
    valkey: ValkeyStatus
    database: Literal["connected", "disconnected"]
    cluster: ClusterHealth
    version: str
    degraded: list[str]
    """What is down or differs, such as `valkey`."""
    load: int
    """In percent: 0 is idle, 100 accepts no work at this moment."""
    reason: NotRequired[str]
    """A sentence, unless the status is `healthy`."""


class StartingJson(TypedDict):
    """The health of an instance that has no report yet."""

    status: Literal["unhealthy"]
    reason: Literal["starting"]


@dataclass(frozen=True)
class HealthReport:
    """The answer of `/api/v1/health`."""

    status: HealthStatus
    reason: str | None
    degraded: tuple[str, ...]
    uptime_secs: int
    facts: Facts

    @property
    def http_status(self) -> int:
        return 200 if self.status in ("healthy", "degraded") else 503

    @property
    def is_ready(self) -> bool:
        """The strict answer of `/api/v1/health/ready`."""
        # All instances see an inconsistency, also during a rolling change of a setting: with 503 the orchestrator would
        # stop the change, and a strict load balancer would have no instance left.
        return self.status == "healthy" or (self.status == "degraded" and self.degraded == ("consistency",))

    @property
    def load(self) -> int:
        """The load in percent: 0 is idle, 100 accepts no work at this moment."""
        return 100 if self.facts.waiting else min(100, round(100 * self.facts.cpu_share))

    def body(self) -> HealthJson:
        """The members that the specification shows, plus `version`, `degraded`, `load`, and `reason` unless healthy."""
        facts = self.facts
        body: HealthJson = {
            "status": self.status,
            "instance_id": facts.instance_id,
            "uptime_secs": self.uptime_secs,
            "valkey": facts.valkey,
            "database": "connected" if facts.database else "disconnected",
            "cluster": {
                "registered_instances": facts.cluster.registered_instances,
                "healthy_instances": facts.cluster.healthy_instances,
                "total_sessions": facts.cluster.total_sessions,
                "local_sessions": facts.local_sessions,
            },
            "version": facts.version,
            "degraded": list(self.degraded),
            "load": self.load,
        }
        if self.reason is not None:
            body["reason"] = self.reason
        return body

    def agent_answer(self) -> str:
        """The health as a line of HAProxy's agent-check protocol, without the line break."""
        if self.status == "draining":
            return "drain"
        if self.http_status != 200:
            # The protocol ends a line at its first line break.
            return f"down #{' '.join((self.reason or '').split())}"
        # Never 0 %: HAProxy takes it for a drain, and with all instances busy none would be left.
        return f"up ready {max(1, 100 - self.load)}%"


def judge(facts: Facts, now: float, refresh_secs: float) -> HealthReport:
    """Judges the facts; `refresh_secs` is the interval at which they are gathered."""
    down = _down(facts)
    status, reason = _verdict(facts, now - facts.taken_at, refresh_secs, down)
    return HealthReport(status, reason, tuple(down), int(now - facts.started_at), facts)


def for_heartbeat(report: HealthReport | None) -> tuple[HealthStatus, str]:
    """The status and the reason for a heartbeat; None is the report of an instance that has just started.

    A heartbeat that arrives disproves what the last facts say about Valkey, so that is left out.
    """
    if report is None:
        return "unhealthy", "starting"
    status, reason = report.status, report.reason or ""
    if status == "degraded":
        remaining = [text for name, text in _down(report.facts).items() if name not in ("valkey", "lease")]
        status, reason = ("degraded", "; ".join(remaining)) if remaining else ("healthy", "")
    reason = " ".join(reason.split())
    return status, reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


def _down(facts: Facts) -> dict[str, str]:
    """The failed dependencies by name, each with its reason as a text."""
    down = {}
    if facts.valkey == "disconnected":
        down["valkey"] = facts.valkey_problem or "Valkey is not reachable"
    elif not facts.leased:
        why = f": {facts.lease_problem}" if facts.lease_problem else ""
        down["lease"] = f"the registry does not have this instance's heartbeat{why}"
    if facts.database_problem or not facts.database:
        down["database"] = facts.database_problem or "PostgreSQL is not reachable"
    elif not facts.witness_held:
        down["witness"] = (
            "this instance does not hold its lock in PostgreSQL: other instances cannot see that it is alive"
        )
    if facts.disk_problem:
        down["disk"] = facts.disk_problem
    if facts.inconsistencies:
        down["consistency"] = "; ".join(facts.inconsistencies)
    return down


def _verdict(
    facts: Facts, age_secs: float, refresh_secs: float, down: dict[str, str]
) -> tuple[HealthStatus, str | None]:
    # First: an instance that drains must get no work, whatever else is wrong with it.
    if facts.draining:
        return "draining", "this instance hands over its sessions and leaves"
    if reason := _unfit(facts, age_secs, refresh_secs, down.get("database")):
        return "unhealthy", reason
    if down:
        return "degraded", "; ".join(down.values())
    return "healthy", None


def _unfit(facts: Facts, age_secs: float, refresh_secs: float, database_problem: str | None) -> str | None:
    """Why this instance must not be given work, or None."""
    # First: with stale facts, no other check can be trusted.
    if age_secs >= MAX_MISSED_REFRESHES * refresh_secs:
        return f"the health facts are {age_secs:.0f} s old: the greenlet that refreshes them is stuck"
    if facts.hub_blocked:
        return "the event loop was blocked"
    if facts.died:
        return f"an error has ended {' and '.join(facts.died)}: see the log, and restart this instance"
    if facts.starting:
        return f"starting: {database_problem}" if database_problem else "starting"
    if facts.differing_secrets:
        return "differs from the rest of the cluster: " + ", ".join(facts.differing_secrets)
    return facts.schema_problem
