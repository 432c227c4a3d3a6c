"""Instances that share a registry and not a database: they list each other, and know nothing of each other's users."""

from collections.abc import Collection, Sequence

from netstacks.cluster.instance_rows import MAX_AGE_SECS, Inconsistency, InstanceRow, ids, named
from netstacks.cluster.model import Instance, Snapshot

# An instance whose heartbeat is older, in intervals, may have ended, and its row may be deleted.
_LATE_HEARTBEATS = 2.5


def without_row(snapshot: Snapshot, known: Collection[str], heartbeat_secs: float) -> list[Instance]:
    """The registered instances that have had time to write a row and are not among `known`, the ids of all rows.

    Read the rows before the snapshot: an instance that leaves in order unregisters before it removes its row. One that
    does not reach its database has no row either, so ask it before you judge.
    """
    latest = snapshot.taken_at - _LATE_HEARTBEATS * heartbeat_secs
    return [
        each
        for each in sorted(snapshot.instances.values(), key=lambda each: each.id)
        if each.id not in known
        and each.takes_sessions
        and each.last_heartbeat_at > latest
        and each.started_at < snapshot.taken_at - MAX_AGE_SECS
    ]


def different_databases(rows: Sequence[InstanceRow], others: Sequence[Instance]) -> Inconsistency:
    """The inconsistency between the instances of one database and `others`, which use another one."""
    theirs = [InstanceRow(each.id, each.host, each.peer_address, each.version, "") for each in others]
    return Inconsistency(
        "database",
        f"{named(rows)} and {named(theirs)} share one Valkey and use different databases: users, devices, sessions and"
        " recordings of one are unknown at the other, so what a user finds depends on the choice of the load balancer",
        "set the same DATABASE_URL on every instance that uses this Valkey, and restart those that change; give another"
        " installation a Valkey of its own, or another database number in VALKEY_URL",
        ids([*rows, *theirs]),
    )
