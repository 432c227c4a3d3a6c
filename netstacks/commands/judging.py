"""How commands judge the registered instances: by a single look at the registry, without contact before it."""

from netstacks.cluster.liveness import living
from netstacks.cluster.model import Snapshot
from netstacks.cluster.overview import InstanceStatus, overview
from netstacks.registry.figures import ValkeyFigures
from netstacks.settings import Settings


def judged(loaded: Settings, snapshot: Snapshot, figures: ValkeyFigures | None) -> list[InstanceStatus]:
    """The status of each instance. `figures` are those of the server, None when it could not be read."""
    ttl_secs = loaded.ha_stale_instance_ttl_secs
    return overview(
        snapshot, loaded.ha_heartbeat_interval_secs, ttl_secs, is_blind=is_blind(snapshot, figures, ttl_secs)
    )


def is_blind(snapshot: Snapshot, figures: ValkeyFigures | None, ttl_secs: float) -> bool:
    """Whether old heartbeats prove nothing.

    After a restart of Valkey, living instances need a TTL to send heartbeats again. A server that was frozen or cut off
    does not show that, but then all heartbeats are old.
    """
    has_restarted = figures is not None and snapshot.taken_at - figures.up_since < ttl_secs
    return has_restarted or _are_all_silent(snapshot, ttl_secs)


def silence(snapshot: Snapshot, ttl_secs: float) -> str | None:
    """A sentence for when no instance sends heartbeats, None while one does or none is registered."""
    if not _are_all_silent(snapshot, ttl_secs):
        return None
    youngest_secs = min(abs(snapshot.taken_at - each.last_heartbeat_at) for each in snapshot.instances.values())
    return (
        f"no instance has sent a heartbeat for {youngest_secs:.0f} s: either none runs any more, or Valkey did not"
        " answer them until just now"
    )


def _are_all_silent(snapshot: Snapshot, ttl_secs: float) -> bool:
    return bool(snapshot.instances) and not living(snapshot, ttl_secs)
