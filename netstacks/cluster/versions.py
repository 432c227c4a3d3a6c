"""What all instances of the cluster understand while a rolling upgrade runs two versions side by side."""

import re

from netstacks.cluster.model import Snapshot

# The first version that reads compressed chunks of recordings.
READS_COMPRESSED = "0.2.0"


def all_have(snapshot: Snapshot, since: str) -> bool:
    """Whether every registered instance, stale ones included, is of version `since` or a newer one.

    False while none is known: instances that the registry has not shown yet may be of any version. So may one whose
    record cannot be read.
    """
    if snapshot.unreadable:
        return False
    versions = [each.version for each in snapshot.instances.values()]
    return bool(versions) and all(_parts(version) >= _parts(since) for version in versions)


def _parts(version: str) -> list[int]:
    """The numbers that it begins with, of which there may be none."""
    found = re.match(r"\d+(\.\d+)*", version)
    return [int(part) for part in found[0].split(".")] if found else []
