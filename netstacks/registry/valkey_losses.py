"""Removal of instances from Valkey, and the lost ones among them: reaped, and not replaced yet."""

import json
from dataclasses import dataclass

from netstacks.cluster.model import LostInstance
from netstacks.registry import hashes, keys
from netstacks.registry.base import LOST_SECS
from netstacks.registry.valkey_calls import Calls, guarded

# The most records in one call: the server is single-threaded, and a larger batch would delay other clients.
BATCH = 500


@dataclass(frozen=True)
class _Removed:
    """`records` is how many records of instances were removed, `ids` the instances of which nothing is left."""

    records: int
    ids: list[str]


class Losses(Calls):
    """See `base.Registry`."""

    @guarded
    def deregister(self, instance_id: str) -> None:
        self._reap(only=instance_id)

    @guarded
    def reap(self, ttl_secs: float, *, by: str) -> list[str]:
        return self._reap(ttl_secs, by=by, proof="silence").ids

    @guarded
    def reap_proven(self, instance_id: str, *, by: str) -> bool:
        return self._reap(only=instance_id, by=by, proof="refused").records > 0

    def _reap(self, ttl_secs: float = 0.0, *, only: str = "", by: str = "", proof: str = "") -> _Removed:
        records, ids, some_left = 0, list[str](), True
        while some_left:
            arguments = (ttl_secs, BATCH, only, by, proof, int(LOST_SECS))
            some_left, found, *gone = self._run("reap", [keys.INSTANCES, keys.LOST], *arguments)
            records += found
            ids += gone
        return _Removed(records, ids)

    @guarded
    def lost(self) -> list[LostInstance]:
        found: list[LostInstance] = []
        for id, stored in json.loads(self._run("lost", [keys.LOST])):
            with self._damage.noted(keys.lost(id)):
                found.append(hashes.lost_instance(id, hashes.from_hash(stored)))
        return found

    @guarded
    def keep_lost(self, lost: LostInstance) -> bool:
        touched = [keys.LOST, keys.lost(lost.id), keys.instance(lost.id)]
        return bool(self._run("keep_lost", touched, lost.id, lost.lost_at, int(LOST_SECS), *hashes.of_lost(lost)))

    @guarded
    def dismiss_lost(self, instance_id: str) -> bool:
        return bool(self._run("forget_lost", [keys.LOST, keys.lost(instance_id)], instance_id))

    @guarded
    def replace_lost(self, instance_id: str, *, by: str) -> bool:
        return bool(self._run("forget_lost", [keys.LOST, keys.lost(instance_id), keys.instance(by)], instance_id))
