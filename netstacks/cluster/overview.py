"""The cluster as its operators read it: what state each instance is in, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from netstacks.cluster import clocks
from netstacks.cluster.liveness import is_stale
from netstacks.cluster.model import Instance, Snapshot
from netstacks.errors import Conflict, NotFound

# late: a heartbeat is overdue, and nothing follows from it yet.
Condition = Literal["healthy", "late", "stale", "draining", "refused"]

_LATE_HEARTBEATS = 2.5


@dataclass(frozen=True)
class InstanceStatus:
    """One instance in the table; `problem` says in words what is wrong, if anything is."""

    instance: Instance
    condition: Condition
    problem: str | None
    heartbeat_age_secs: float
    share: float
    """Of all sessions, from 0 to 1."""
    clock_skew_secs: float | None = None
    """How far its clock is ahead of that of the host that looks; None when that was not measured."""

    @property
    def clock_differs(self) -> bool:
        """Whether a person should look at its clock."""
        return self.clock_skew_secs is not None and clocks.is_alarming(self.clock_skew_secs)


def overview(
    snapshot: Snapshot, interval_secs: float, ttl_secs: float, clock_skews: Mapping[str, float] | None = None
) -> list[InstanceStatus]:
    """One line an instance, by host and then by age; all ages are those of the moment of the snapshot.

    `clock_skews` tells by instance id what was measured.
    """
    total = sum(each.sessions for each in snapshot.instances.values())
    return [
        _line(each, snapshot.taken_at, interval_secs, ttl_secs, total, (clock_skews or {}).get(each.id))
        for each in sorted(snapshot.instances.values(), key=lambda each: (each.host, each.started_at, each.id))
    ]


def _line(
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
        return "stale", f"no heartbeat for {age_secs:.0f} s: it counts as dead, others may claim its sessions"
    if instance.state == "refused":
        return "refused", "its VAULT_MASTER_KEY or JWT_SECRET differs from the cluster's: it takes no sessions"
    if age_secs > _LATE_HEARTBEATS * interval_secs:
        return "late", f"no heartbeat for {age_secs:.0f} s: after {ttl_secs:g} s it counts as dead"
    if instance.state == "draining":
        return "draining", "it hands over its sessions and leaves"
    return "healthy", None


def check_drain(lines: list[InstanceStatus], instance_id: str, *, force: bool) -> None:
    """Whether an instance can be drained. Raises NotFound, or Conflict with what speaks against it.

    `force` drains the last healthy one as well.
    """
    line = next((each for each in lines if each.instance.id == instance_id), None)
    if line is None:
        raise NotFound(f"there is no instance {instance_id}: it has left, or was taken off the list")
    if line.condition == "stale":
        raise Conflict(f"{instance_id} is not heard of any more, so it cannot hand over anything")
    if line.instance.state == "draining":
        raise Conflict(f"{instance_id} is draining already")
    others = [each for each in lines if each is not line and each.condition == "healthy"]
    if not (others or force):
        raise Conflict(
            f"{instance_id} is the last healthy instance: nobody would take over its sessions, and nobody could log in."
            " It is drained all the same when that is forced"
        )
