"""Features that all instances of the cluster support, while a rolling upgrade runs two versions."""

import re

from netstacks.cluster.model import Snapshot

# The first version that reads compressed chunks of recordings.
READS_COMPRESSED = "0.2.0"


def all_have(snapshot: Snapshot, since: str) -> bool:
    """Whether every registered instance, stale ones included, has version `since` or a newer one.

    False while no instance is known, and while a record is unreadable: these instances may have any version.
    """
    if snapshot.unreadable:
        return False
    versions = [each.version for each in snapshot.instances.values()]
    return bool(versions) and all(_parts(version) >= _parts(since) for version in versions)


def _parts(version: str) -> list[int]:
    """The leading numbers of a version, possibly none."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(part) for part in found[0].split(".")] if found else []
