"""Looks a session up: gathers the facts for the choice of a route, from PostgreSQL, the registry and the peers."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import structlog
from cachetools import TTLCache
from pydantic import TypeAdapter, ValidationError

from netstacks import greenlets
from netstacks.cluster.model import Instance, Peer, SessionRecord
from netstacks.cluster.routing import Dial, Placement, Witness
from netstacks.errors import PeerFailed, RegistryUnavailable, RetryLater, StoreBusy, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.holdings import Holdings
from netstacks.peer.client import ANSWER_SECS, PeerClient, Reply
from netstacks.registry.base import Registry
from netstacks.store import sessions
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session

log = structlog.get_logger()

# The answer of a peer that holds the session: its record and its user.
_ANSWER = TypeAdapter(tuple[SessionRecord, UUID])
# After this time PostgreSQL counts as unreachable, and the peers are asked: the user of a live session waits.
ROW_SECS = 3.0
FIND_PATH = "/peer/sessions/find"
# One proof of a death serves all claims within this time. No longer, because a proof can be wrong: a restart of
# PostgreSQL frees all locks, and the listener may be unreachable at the same moment.
_DEAD_SECS = 1.0


class WitnessReader(Protocol):
    """Reads from PostgreSQL whether the process of an instance is alive."""

    def of(self, instance_id: str) -> Witness: ...

    def of_all(self, instance_ids: Sequence[str]) -> dict[str, Witness]: ...


@dataclass(frozen=True)
class Key:
    """How a connection names its session: by id, or by reconnect token."""

    session_id: UUID | None = None
    token: UUID | None = None

    def row(self, tx: Transaction) -> SessionRow | None:
        if self.token is not None:
            return sessions.find_by_token(tx, self.token)
        assert self.session_id is not None
        return sessions.find(tx, self.session_id)

    def local(self, hub: Hub) -> Session | None:
        if self.token is not None:
            return hub.find_by_token(self.token)
        assert self.session_id is not None
        return hub.find(self.session_id)

    def claims(self) -> dict[str, str | None]:
        return {name: str(value) if value else None for name, value in vars(self).items()}


@dataclass(frozen=True)
class Found:
    """The facts of a session. `row` is None while PostgreSQL is unreachable; `now` is by the registry's clock."""

    session_id: UUID
    user_id: UUID
    row: SessionRow | None
    placement: Placement
    now: float


class Lookup:
    """Gathers the facts of one session at a time."""

    def __init__(
        self,
        *,
        agent: Agent,
        registry: Registry,
        database: Database,
        witness: WitnessReader,
        peers: PeerClient,
        holdings: Holdings,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._database = database
        self._witness = witness
        self._peers = peers
        self._hub = holdings.hub
        self._holdings = holdings
        self._dead: TTLCache[str, float] = TTLCache(1000, _DEAD_SECS)
        """The instances whose death was proven within _DEAD_SECS."""

    def find(self, key: Key, *, dial: Dial | None = None, viewer: bool = False) -> Found | None:
        """The facts of the session; None when there is none. `dial` is the outcome of the last attempt at its owner.

        Raises StoreBusy, and RetryLater when neither PostgreSQL nor a peer can locate the session.
        """
        try:
            with self._database.transaction(timeout_secs=ROW_SECS) as tx:
                row = key.row(tx)
        except StoreBusy:
            raise  # PostgreSQL is reachable but overloaded: requests to every peer would only add load.
        except StoreUnavailable:
            return self._find_without_database(key, dial, viewer)
        if row is None:
            return None
        held = self._holdings.held_epoch(row.id)
        if held is not None and held < row.epoch:
            self._hub.fence([row.id])
        placement = Placement(
            row=row.record(),
            row_address=row.owner_address,
            end_reason=row.end_reason,
            held_epoch=held,
            dial=dial,
            viewer=viewer,
        )
        return Found(row.id, row.user_id, row, *self._judged(placement))

    def _find_without_database(self, key: Key, dial: Dial | None, viewer: bool) -> Found:
        session = key.local(self._hub)
        if session is not None:
            placement = Placement(record=session.record(), held_epoch=session.facts.epoch, database=False)
            return Found(session.id, session.facts.user_id, None, placement, self._agent.snapshot.taken_at)
        found = self._ask_peers(key)
        if found is None:
            raise RetryLater("the session cannot be looked up while PostgreSQL is unreachable")
        record, user_id = found
        placement = Placement(record=record, dial=dial, database=False, viewer=viewer)
        return Found(record.id, user_id, None, *self._judged(placement))

    def _judged(self, placement: Placement) -> tuple[Placement, float]:
        """Adds the facts about the owner, and the time by the registry's clock.

        Whether the owner is alive is determined only after a dial that it did not answer.
        """
        snapshot, current = self._agent.snapshot, placement.current
        assert current is not None
        if current.owner is None or current.owner == self._agent.me.id:
            return placement, snapshot.taken_at
        owner, now = snapshot.instances.get(current.owner), snapshot.taken_at
        dial = placement.dial
        if dial is None and not (owner.peer_address if owner else placement.row_address):
            # An owner without an address never had a listener, so a dial would be refused.
            dial = Dial(current.owner, current.epoch, "refused", self._witness.of(current.owner))
        if dial is None and current.owner in self._dead:
            return replace(placement, dial=Dial(current.owner, current.epoch, "refused", "free")), now
        if dial is None:
            return replace(placement, owner=owner), now
        # A dial of a former owner proves nothing about the current one.
        if dial.proves_death and dial.owner == current.owner and self._registry.is_shared:
            self._dead[dial.owner] = time.monotonic()
            return replace(placement, dial=dial), now
        is_known = False
        with contextlib.suppress(RegistryUnavailable):
            owner, now = self._registry.instance(current.owner), self._registry.now()
            is_known = True
        # After the owner's heartbeat was read: only then does `is_blind` tell whether its age counts.
        self._agent.beat_anew()
        if self._registry.is_shared:
            # Without an answer of the registry, a missing entry proves nothing: the snapshot may predate the owner.
            blind = self._agent.is_blind or not is_known
        else:
            blind = self._is_alone_and_unsure(placement, dial)
        return replace(placement, owner=owner, dial=dial, blind=blind), now

    @staticmethod
    def _is_alone_and_unsure(placement: Placement, dial: Dial) -> bool:
        """Whether an owner may be alive, for an instance without a cluster, which sees no heartbeats.

        Its connection to PostgreSQL decides. When the witness cannot be read, an owner with an address may be alive;
        one without an address was this instance before a restart.
        """
        return dial.witness == "held" or (bool(placement.row_address) and dial.witness != "silent")

    def _ask_peers(self, key: Key) -> tuple[SessionRecord, UUID] | None:
        """The record from the instance that holds the session: the registry's owner, or any that answers.

        The registry locates sessions by id only, and may be behind; without its help every known instance is asked at
        the same time.
        """
        peers = self._agent.snapshot.instances
        others = {each.id: each for each in peers.values() if each.id != self._agent.me.id and each.peer_address}
        if (owner := others.get(self._registered_owner(key))) and (answer := self._ask(owner, key)):
            return answer
        requests = [greenlets.spawn(f"ask-{each.id}", self._ask, each, key) for each in others.values()]
        greenlets.joinall(requests, timeout=2 * ANSWER_SECS)
        return next((answer for request in requests if (answer := request.value)), None)

    def _registered_owner(self, key: Key) -> str:
        """The owner's id in the registry, or ""."""
        if key.session_id is None:
            return ""
        with contextlib.suppress(RegistryUnavailable):
            if record := self._registry.session(key.session_id):
                return record.owner or ""
        return ""

    def _ask(self, instance: Instance, key: Key) -> tuple[SessionRecord, UUID] | None:
        with contextlib.suppress(PeerFailed):
            match self._peers.call(Peer(instance.id, instance.peer_address), FIND_PATH, **key.claims()):
                case Reply({"record": record, "user_id": user_id}):
                    return _held(instance, record, user_id)
        return None


def _held(peer: Instance, record: object, user_id: object) -> tuple[SessionRecord, UUID] | None:
    try:
        return _ANSWER.validate_python((record, user_id))
    except ValidationError as error:
        log.warning("peer.not_understood", peer=peer.id, path=FIND_PATH, problems=error.error_count())
        return None
