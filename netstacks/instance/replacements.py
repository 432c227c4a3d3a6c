"""Replacements: reports each lost instance, and pairs it with the instance that has taken its place."""

import structlog

from netstacks.cluster import losses
from netstacks.cluster.model import Instance, LossProof, LostInstance
from netstacks.instance.failures import FailureLog
from netstacks.instance.publisher import Publisher
from netstacks.registry.base import Registry

log = structlog.get_logger()


class Replacements:
    """The registry decides: a lost instance is replaced once, and an instance replaces only one. Never raises.

    `interval_secs` is the time between two heartbeats of an instance.
    """

    def __init__(self, registry: Registry, publisher: Publisher, failures: FailureLog, interval_secs: float) -> None:
        self._registry = registry
        self._publisher = publisher
        self._failures = failures
        self._interval_secs = interval_secs
        self._is_new = True
        """Whether this instance may still replace a lost one: only a new one does, and it decides once."""

    def replace_by(self, me: Instance) -> str | None:
        """The lost instance that this one, which has joined, replaces from now on.

        The first answer of the registry decides: without one, the next call asks again.
        """
        # An instance with other secrets takes no sessions, and one that drains is on its way out.
        if not self._is_new or me.state != "active":
            self._is_new = False
            return None
        replaced = None
        with self._failures.tolerate("replace_lost"):
            replaced = self._replace(me)
            self._is_new = False
        return replaced

    def _replace(self, me: Instance) -> str | None:
        for each in losses.replaceable(self._registry.lost(), me.host):
            if self._registry.replace_lost(each.id, by=me.id):
                return each.id
        return None

    def report(self, instance_id: str, proof: LossProof, by: str) -> None:
        """Records that `by` has declared an instance dead, and which instance had taken its place before that."""
        lost = successor = None
        with self._failures.tolerate("replace_lost"):
            lost = next((each for each in self._registry.lost() if each.id == instance_id), None)
            successor = find_successor(self._registry, lost, self._interval_secs) if lost is not None else None
        sessions = {"sessions": str(lost.sessions)} if lost is not None else {}
        log.warning("instance.reaped", instance_id=instance_id, proof=proof, **sessions)
        self._publisher.record_event("reaped", instance_id, by=by, proof=proof, **sessions)
        if successor is not None:
            self._publisher.record_event("replaced", instance_id, by=successor)


def find_successor(registry: Registry, lost: LostInstance, interval_secs: float) -> str | None:
    """The instance that had taken the place of a lost one already, and replaces it from now on.

    Call it after the loss was stored: an instance that registers later finds the lost one by itself.
    """
    for each in losses.successors(lost, registry.snapshot(), interval_secs):
        if registry.replace_lost(lost.id, by=each.id):
            return each.id
    return None
