"""The overview of the cluster for operators: the condition of each instance, and its problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from netstacks.cluster import clocks
from netstacks.cluster.liveness import is_stale
from netstacks.cluster.model import Instance, Snapshot
from netstacks.errors import Conflict, NotFound

# late: a heartbeat is overdue, without consequences so far.
Condition = Literal["healthy", "late", "stale", "draining", "refused"]

_LATE_HEARTBEATS = 2.5


@dataclass(frozen=True)
class InstanceStatus:
    """One row of the table; `problem` is a text, None for a healthy instance."""

    instance: Instance
    condition: Condition
    problem: str | None
    heartbeat_age_secs: float
    share: float
    """The instance's share of all sessions, from 0 to 1."""
    clock_skew_secs: float | None = None
    """How far its clock is ahead of the observing host's, in seconds; None when not measured."""

    @property
    def clock_differs(self) -> bool:
        """Whether its clock needs an administrator."""
        return self.clock_skew_secs is not None and clocks.is_alarming(self.clock_skew_secs)


def overview(
    snapshot: Snapshot, interval_secs: float, ttl_secs: float, clock_skews: Mapping[str, float] | None = None
) -> list[InstanceStatus]:
    """The status of each instance, sorted by host and start time; ages are as of the snapshot.

    `clock_skews` has the measured skews in seconds, by instance id.
    """
    total = sum(each.sessions for each in snapshot.instances.values())
    return [
        _status(each, snapshot.taken_at, interval_secs, ttl_secs, total, (clock_skews or {}).get(each.id))
        for each in sorted(snapshot.instances.values(), key=lambda each: (each.host, each.started_at, each.id))
    ]


def _status(
    instance: Instance, now: float, interval_secs: float, ttl_secs: float, total: int, clock_skew_secs: float | None
) -> InstanceStatus:
    age_secs = abs(now - instance.last_heartbeat_at)
    condition, problem = _judge(instance, now, age_secs, interval_secs, ttl_secs)
    share = instance.sessions / total if total else 0.0
    return InstanceStatus(instance, condition, problem, age_secs, share, clock_skew_secs)


def _judge(
    instance: Instance, now: float, age_secs: float, interval_secs: float, ttl_secs: float
) -> tuple[Condition, str | None]:
    if is_stale(instance, now, ttl_secs):
        return (
            "stale",
            f"no heartbeat for {age_secs:.0f} s: it is declared dead, other instances may claim its sessions",
        )
    if instance.state == "refused":
        return "refused", "its VAULT_MASTER_KEY or JWT_SECRET differs from the cluster's: it accepts no sessions"
    if age_secs > _LATE_HEARTBEATS * interval_secs:
        return "late", f"no heartbeat for {age_secs:.0f} s: after {ttl_secs:g} s it is declared dead"
    if instance.state == "draining":
        return "draining", "it hands over its sessions and stops"
    return "healthy", None


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
    others = [each for each in lines if each is not status and each.condition == "healthy"]
    if not (others or force):
        raise Conflict(
            f"{instance_id} is the last healthy instance: no other one could take over its sessions, and no user could"
            " log in. Force the drain to proceed anyway"
        )
