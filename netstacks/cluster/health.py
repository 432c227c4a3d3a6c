"""Health of this instance, from facts gathered beforehand (specification, Health Endpoints).

A shared dependency that is down is `degraded` and still 200: every instance sees it, and the load balancer would be
left with none. 503 is for what another instance does better.
"""

from dataclasses import dataclass
from typing import Any, Literal

from netstacks.cluster.model import ClusterSummary

HealthStatus = Literal["healthy", "degraded", "draining", "unhealthy"]
ValkeyStatus = Literal["connected", "disconnected", "disabled"]

# A snapshot this many refreshes old means that the loop which refreshes it is stuck.
MAX_MISSED_REFRESHES = 3


@dataclass(frozen=True)
class Facts:
    """What the refresher saw last. `started_at` and `taken_at` are of one clock, that of `now` in `judge`."""

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
    """How much of one core this process has used lately. Above 1 when native threads compute beside the event loop."""
    waiting: int = 0
    """How many clients wait in the admission queue."""
    leased: bool = True
    """Whether the registry has this instance's heartbeat."""
    starting: bool = False
    draining: bool = False
    differing_secrets: tuple[str, ...] = ()
    """The settings whose values the rest of the cluster does not accept."""
    schema_problem: str | None = None
    """What is wrong with the database's schema, in words."""
    database_problem: str | None = None
    """What PostgreSQL does not do though it answers, or why it does not, in words."""
    disk_problem: str | None = None
    """That the disk of the spool has too little room, in words."""
    witness_held: bool = True
    """Whether this instance holds its lock in PostgreSQL, by which others see that it lives."""
    died: tuple[str, ...] = ()
    """The background greenlets that an error has ended."""
    hub_blocked: bool = False
    """Whether the event loop has lately stood still more than it ran."""


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
        return self.status == "healthy"

    @property
    def load(self) -> int:
        """How busy this instance is, in whole percent: 0 is idle, 100 takes nothing at this moment."""
        return 100 if self.facts.waiting else min(100, round(100 * self.facts.cpu_share))

    def body(self) -> dict[str, Any]:
        """The members that the specification shows, plus `version`, `degraded`, `load`, and `reason` unless healthy."""
        facts = self.facts
        body: dict[str, Any] = {
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
        """The same verdict in the words of HAProxy's agent-check."""
        if self.status == "draining":
            return "drain"
        if self.http_status != 200:
            # The line ends at the first line break.
            return f"down #{' '.join((self.reason or '').split())}"
        # Never 0 %: to HAProxy that is a drain, and when all instances are busy none would be left.
        return f"up ready {max(1, 100 - self.load)}%"


def judge(facts: Facts, now: float, refresh_secs: float) -> HealthReport:
    """Judges the facts; `refresh_secs` is how often the facts are gathered."""
    down = _down(facts)
    status, reason = _verdict(facts, now - facts.taken_at, refresh_secs, down)
    return HealthReport(status, reason, tuple(down), int(now - facts.started_at), facts)


def _down(facts: Facts) -> dict[str, str]:
    """What this instance has to do without, and how to say it."""
    down = {}
    if facts.valkey == "disconnected":
        down["valkey"] = "Valkey is not reachable"
    elif not facts.leased:
        down["lease"] = "the registry does not have this instance's heartbeat"
    if facts.database_problem or not facts.database:
        down["database"] = facts.database_problem or "PostgreSQL is not reachable"
    elif not facts.witness_held:
        down["witness"] = "this instance does not hold its lock in PostgreSQL: others cannot see that it lives"
    if facts.disk_problem:
        down["disk"] = facts.disk_problem
    return down


def _verdict(
    facts: Facts, age_secs: float, refresh_secs: float, down: dict[str, str]
) -> tuple[HealthStatus, str | None]:
    if facts.draining:
        return "draining", "this instance hands over its sessions and leaves"
    if reason := _unfit(facts, age_secs, refresh_secs, down.get("database")):
        return "unhealthy", reason
    if down:
        return "degraded", "; ".join(down.values())
    return "healthy", None


def _unfit(facts: Facts, age_secs: float, refresh_secs: float, database_problem: str | None) -> str | None:
    """Why this instance must not be given work, or None."""
    if age_secs >= MAX_MISSED_REFRESHES * refresh_secs:
        return f"what is told here is {age_secs:.0f} s old: its refresher is stuck"
    if facts.hub_blocked:
        return "the event loop was blocked"
    if facts.died:
        return f"an error has ended {' and '.join(facts.died)}: see the log, and restart this instance"
    if facts.starting:
        return f"starting: {database_problem}" if database_problem else "starting"
    if facts.differing_secrets:
        return "differs from the rest of the cluster: " + ", ".join(facts.differing_secrets)
    return facts.schema_problem
