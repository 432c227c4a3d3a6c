"""The overview of the cluster for operators: its condition, the condition of each instance, and their problems."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from netstacks.cluster import clocks
from netstacks.cluster.liveness import is_stale
from netstacks.cluster.model import ClusterSummary, Instance, LostInstance, Snapshot
from netstacks.errors import Conflict, NotFound

# late: a heartbeat is overdue, without consequences so far. degraded: it serves, without something that it needs.
# unhealthy: it sends heartbeats and cannot serve.
Condition = Literal["healthy", "degraded", "late", "stale", "draining", "refused", "unhealthy"]

# single: one instance without Valkey, which no other one can replace.
ClusterState = Literal["healthy", "degraded", "single"]

# The most instances that a sentence names.
_MAX_NAMED = 5
_LATE_HEARTBEATS = 2.5
_NOT_JUDGED = "heartbeats are not judged until Valkey has been back for {:g} s"


@dataclass(frozen=True)
class InstanceStatus:
    """One row of the table; `problem` is a text, None for a healthy instance."""

    instance: Instance
    condition: Condition
    problem: str | None
    heartbeat_age_secs: float
    share: float
    """The instance's share of all sessions, from 0 to 1."""
    counts_as_healthy: bool
    """Whether it serves, as far as is known: an overdue heartbeat that proves nothing does not change that."""
    clock_skew_secs: float | None = None
    """How far its clock is ahead of the observing host's, in seconds; None when not measured."""

    @property
    def clock_differs(self) -> bool:
        """Whether its clock needs an administrator."""
        return self.clock_skew_secs is not None and clocks.is_alarming(self.clock_skew_secs)


def overview(
    snapshot: Snapshot,
    interval_secs: float,
    ttl_secs: float,
    clock_skews: Mapping[str, float] | None = None,
    *,
    is_blind: bool = False,
) -> list[InstanceStatus]:
    """The status of each instance, sorted by host and start time; ages are as of the snapshot.

    `clock_skews` has the measured skews in seconds, by instance id. With `is_blind`, the observer has not been in
    contact with the registry for a TTL: an old heartbeat proves nothing, so no instance is shown as stale.
    """
    total = sum(each.sessions for each in snapshot.instances.values())
    return [
        _status(each, snapshot.taken_at, interval_secs, ttl_secs, total, (clock_skews or {}).get(each.id), is_blind)
        for each in sorted(snapshot.instances.values(), key=lambda each: (each.host, each.started_at, each.id))
    ]


def _status(
    instance: Instance,
    now: float,
    interval_secs: float,
    ttl_secs: float,
    total: int,
    clock_skew_secs: float | None,
    is_blind: bool,
) -> InstanceStatus:
    age_secs = abs(now - instance.last_heartbeat_at)
    condition, problem = _judge(instance, now, age_secs, interval_secs, ttl_secs, is_blind)
    share = instance.sessions / total if total else 0.0
    serves = condition in ("healthy", "degraded") or (condition == "late" and is_blind and instance.takes_sessions)
    return InstanceStatus(instance, condition, problem, age_secs, share, serves, clock_skew_secs)


def _judge(
    instance: Instance, now: float, age_secs: float, interval_secs: float, ttl_secs: float, is_blind: bool
) -> tuple[Condition, str | None]:
    if is_stale(instance, now, ttl_secs):
        if is_blind:
            return "late", f"no heartbeat for {age_secs:.0f} s: {_NOT_JUDGED.format(ttl_secs)}"
        return (
            "stale",
            f"no heartbeat for {age_secs:.0f} s: it is declared dead, other instances may claim its sessions",
        )
    if instance.state == "refused":
        return "refused", "its VAULT_MASTER_KEY or JWT_SECRET differs from the cluster's: it accepts no sessions"
    if age_secs > _LATE_HEARTBEATS * interval_secs:
        consequence = _NOT_JUDGED.format(ttl_secs) if is_blind else f"after {ttl_secs:g} s it is declared dead"
        return "late", f"no heartbeat for {age_secs:.0f} s: {consequence}"
    if instance.state == "draining":
        return "draining", "it hands over its sessions and stops"
    if instance.health == "unhealthy":
        return "unhealthy", instance.reason or "it does not say why: read its log"
    if instance.health == "degraded":
        return "degraded", instance.reason or "it does not say why: read its log"
    return "healthy", None


def summarize(lines: Sequence[InstanceStatus]) -> ClusterSummary:
    """The counts of the table."""
    return ClusterSummary(
        registered_instances=len(lines),
        healthy_instances=sum(line.counts_as_healthy for line in lines),
        total_sessions=sum(line.instance.sessions for line in lines),
        draining_instances=sum(line.condition == "draining" for line in lines),
    )


@dataclass(frozen=True)
class ClusterCondition:
    """The condition of the whole cluster; `reason` is a sentence without a full stop, None when all is well."""

    state: ClusterState
    reason: str | None
    expected_instances: int
    expected_by: Literal["setting", "learned"]


def expected_number(setting: int, summary: ClusterSummary, lost: int) -> int:
    """How many instances there should be: `setting` is HA_EXPECTED_INSTANCES; with 0 the number is learned.

    A learned number leaves out the draining instances: they leave on purpose.
    """
    return setting or max(1, summary.registered_instances - summary.draining_instances + lost)


def condition_of(
    lines: Sequence[InstanceStatus],
    lost: Sequence[LostInstance],
    *,
    expected_instances: int,
    is_shared: bool,
    now: float,
    problems: Iterable[str] = (),
) -> ClusterCondition:
    """Judges the cluster. `now` is by the registry's clock, `problems` are those of shared dependencies.

    `expected_instances` is HA_EXPECTED_INSTANCES. With 0 the expected number is learned: every registered instance
    that does not drain, and every lost one that was not replaced or dismissed. `is_shared` is False for a single
    instance without Valkey.
    """
    summary = summarize(lines)
    expected = expected_number(expected_instances, summary, len(lost))
    healthy = summary.healthy_instances
    reasons = list(problems)
    impaired = [_named(line) for line in lines if line.counts_as_healthy and line.condition != "healthy"]
    # A problem of the whole cluster is the reason of each instance, too.
    if impaired and not reasons:
        reasons.append(", ".join(_few(impaired, "serve with problems")))
    if healthy < expected and (is_shared or expected_instances):
        missing = _missing(lines, lost, expected, is_shared, now)
        verb = "is" if healthy == 1 else "are"
        reasons.insert(0, f"{healthy} of {expected} instances {verb} healthy: {missing}")
    state: ClusterState = "degraded" if reasons else "healthy" if is_shared else "single"
    return ClusterCondition(state, "; ".join(reasons) or None, expected, "setting" if expected_instances else "learned")


def _missing(
    lines: Sequence[InstanceStatus], lost: Sequence[LostInstance], expected: int, is_shared: bool, now: float
) -> str:
    """The instances that are not healthy, as a text."""
    names = [f"{each.id} on {each.host} was lost {ago(now - each.lost_at)}" for each in reversed(lost)]
    names += [_named(line) for line in lines if not line.counts_as_healthy]
    names = _few(names, "are not healthy")
    absent = expected - len(lines) - len(lost)
    if absent > 0:
        known_by = "" if is_shared else ", because this instance runs without Valkey and sees no other"
        names.append(
            f"{absent} of the {expected} in HA_EXPECTED_INSTANCES {'is' if absent == 1 else 'are'} not known{known_by}"
        )
    return ", ".join(names)


def _named(line: InstanceStatus) -> str:
    return f"{line.instance.id} on {line.instance.host} is {line.condition}"


def _few(names: Sequence[str], rest: str) -> list[str]:
    """At most _MAX_NAMED names; `rest` tells what the others are."""
    more = len(names) - _MAX_NAMED
    return [*names[:_MAX_NAMED], f"{more} more {rest}"] if more > 0 else list(names)


def unreadable_problem(count: int) -> str | None:
    """A sentence about `count` records of the registry that cannot be read; None for none."""
    if not count:
        return None
    what, verb = ("1 record", "is") if count == 1 else (f"{count} records", "are")
    return f"{what} in Valkey cannot be read and {verb} left out"


def loss_in_words(lost: LostInstance, now: float, fates: Mapping[str, int] | None) -> str:
    """The fate of a lost instance and its sessions, as text. `now` is by the registry's clock.

    `fates` counts the sessions that are `taken_over`, `waiting` or `ended`; None while PostgreSQL cannot be read.
    """
    when = f"lost {ago(now - lost.lost_at)}"
    if fates is None:
        return f"{when}, with {_sessions(lost.sessions)}"
    total = max(lost.sessions, sum(fates.values()))
    if not total:
        return f"{when}, it had no sessions"
    waiting = "waiting for its user" if fates["waiting"] == 1 else "waiting for their users"
    parts = ((fates["taken_over"], "taken over"), (fates["waiting"], waiting), (fates["ended"], "ended"))
    told = ", ".join(f"{count} {what}" for count, what in parts if count)
    return f"{when}, its {_sessions(total)}: {told or 'ended or lost again elsewhere'}"


def _sessions(count: int) -> str:
    return f"{count} session{'' if count == 1 else 's'}"


def ago(secs: float) -> str:
    """A time that has passed, in words and rounded down: a text that changes every second would distract."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if secs >= length:
            return f"{int(secs // length)} {unit} ago"
    return f"{int(secs // 10) * 10} s ago" if secs >= 10 else "a moment ago"


def check_drain(lines: list[InstanceStatus], instance_id: str, *, force: bool) -> None:
    """Raises NotFound, or Conflict with the reason, when the instance cannot be drained.

    `force` allows a drain of the last healthy instance.
    """
    status = next((each for each in lines if each.instance.id == instance_id), None)
    if status is None:
        raise NotFound(f"there is no instance {instance_id}: it has left, or it was reaped")
    if status.condition == "stale":
        raise Conflict(f"{instance_id} sends no heartbeats, so it cannot hand over its sessions")
    if status.instance.state == "draining":
        raise Conflict(f"{instance_id} is draining already")
    others = [each for each in lines if each is not status and each.condition in ("healthy", "degraded")]
    if not (others or force):
        raise Conflict(
            f"{instance_id} is the last healthy instance: no other one could take over its sessions, and no user could"
            " log in. Force the drain to proceed anyway"
        )
