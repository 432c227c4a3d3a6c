"""Finds the registered instances that use another database than this one.

An instance counts only if it says that its database answers.
"""

from collections.abc import Collection, Sequence

from netstacks import greenlets
from netstacks.cluster.databases import without_row
from netstacks.cluster.model import Instance, Peer
from netstacks.errors import PeerFailed, RegistryUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.peer.client import PeerClient, Reply
from netstacks.registry.base import Registry


class OtherDatabases:
    """`heartbeat_secs` is the time between two heartbeats of an instance."""

    def __init__(self, agent: Agent, registry: Registry, peers: PeerClient, *, heartbeat_secs: float) -> None:
        self._agent = agent
        self._registry = registry
        self._peers = peers
        self._heartbeat_secs = heartbeat_secs
        self._found: Sequence[Instance] = ()
        """What the last look found."""

    def look(self, known: Collection[str]) -> Sequence[Instance]:
        """The instances without a row here, though their database answers. `known` are the ids of all rows here.

        While the registry is away, those that were found before.
        """
        if not without_row(self._agent.snapshot, known, self._heartbeat_secs):
            self._found = ()
            return ()
        try:
            suspects = without_row(self._registry.snapshot(), known, self._heartbeat_secs)
        except RegistryUnavailable:
            return self._found
        asked = [greenlets.spawn("database-check", self._has_database, each) for each in suspects]
        greenlets.joinall(asked)
        self._found = [each for each, answer in zip(suspects, asked, strict=True) if answer.get()]
        return self._found

    def _has_database(self, instance: Instance) -> bool:
        """Whether the instance says that its database answers; one of another version does not say it."""
        if not instance.peer_address:
            return False
        try:
            reply = self._peers.call(Peer(instance.id, instance.peer_address), ALIVE_PATH)
        except PeerFailed:
            return False
        return isinstance(reply, Reply) and isinstance(reply.body, dict) and reply.body.get("has_database") is True
