"""Builds the broker of one instance, with the look-up of sessions and the claims of those without an owner."""

from netstacks.instance.agent import Agent
from netstacks.instance.broker import Broker
from netstacks.instance.claims import Claims
from netstacks.instance.holdings import Holdings
from netstacks.instance.lookup import Lookup
from netstacks.instance.opener import Opener
from netstacks.peer.client import PeerClient
from netstacks.recording.recorder import Recorder
from netstacks.recording.spool import Spool
from netstacks.registry.base import Registry
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.witness import Witness


def build_broker(
    *,
    agent: Agent,
    registry: Registry,
    database: Database,
    witness: Witness,
    peers: PeerClient,
    holdings: Holdings,
    opener: Opener,
    deferred_writes: DeferredWrites,
    spool: Spool,
    recorder: Recorder,
    ttl_secs: float,
) -> Broker:
    lookup = Lookup(agent=agent, registry=registry, database=database, witness=witness, peers=peers, holdings=holdings)
    claims = Claims(
        agent=agent,
        registry=registry,
        database=database,
        opener=opener,
        pending_claims=holdings.pending_claims,
        deferred_writes=deferred_writes,
        spool=spool,
    )
    return Broker(
        agent=agent,
        ttl_secs=ttl_secs,
        lookup=lookup,
        claims=claims,
        witness=witness,
        peers=peers,
        holdings=holdings,
        recorder=recorder,
    )
