"""Looking a session up: every fact that the choice of a route needs, from whoever can tell it now."""

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
from netstacks.errors import ComeAgain, PeerFailed, RegistryUnavailable, StoreBusy, StoreUnavailable
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

# What a peer answers that holds the session: where it is, and whose.
_ANSWER = TypeAdapter(tuple[SessionRecord, UUID])
# A database that takes longer does not keep a live session from its user.
ROW_SECS = 3.0
FIND_PATH = "/peer/sessions/find"
# One proof of a death serves all claims of this moment. Not longer: the proof may be wrong, for PostgreSQL forgets its
# locks when it restarts, and a listener may be out of reach just then.
_DEAD_SECS = 1.0


class WitnessReader(Protocol):
    """Reads in PostgreSQL whether an instance's process lives."""

    def of(self, instance_id: str) -> Witness: ...

    def of_all(self, instance_ids: Sequence[str]) -> dict[str, Witness]: ...


@dataclass(frozen=True)
class Key:
    """What a connection names: a session by its id, or by its reconnect token."""

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
    """A session as it is known now. `row` is None while the database is away; `now` is the registry's clock."""

    session_id: UUID
    user_id: UUID
    row: SessionRow | None
    placement: Placement
    now: float


class Lookup:
    """Gathers the facts of one session."""

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
        """The instances whose death was proven of late."""

    def find(self, key: Key, *, dial: Dial | None = None, viewer: bool = False) -> Found | None:
        """The session and where it is; `dial` is what came of dialling its owner. None: there is no such session."""
        try:
            with self._database.transaction(timeout_secs=ROW_SECS) as tx:
                row = key.row(tx)
        except StoreBusy:
            raise  # The database is there: to ask every peer instead would only add to the crowd.
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
            raise ComeAgain("the session cannot be looked up while the database is away")
        record, user_id = found
        placement = Placement(record=record, dial=dial, database=False, viewer=viewer)
        return Found(record.id, user_id, None, *self._judged(placement))

    def _judged(self, placement: Placement) -> tuple[Placement, float]:
        """Adds what is known of the owner; whether it lives is asked only when it did not answer. And the time."""
        snapshot, current = self._agent.snapshot, placement.current
        assert current is not None
        if current.owner is None or current.owner == self._agent.me.id:
            return placement, snapshot.taken_at
        owner, now = snapshot.instances.get(current.owner), snapshot.taken_at
        dial = placement.dial
        if dial is None and not (owner.peer_address if owner else placement.row_address):
            # It never had a listener, so nothing of it can be listening.
            dial = Dial(current.owner, current.epoch, "refused", self._witness.of(current.owner))
        if dial is None and current.owner in self._dead:
            return replace(placement, dial=Dial(current.owner, current.epoch, "refused", "free")), now
        if dial is None:
            return replace(placement, owner=owner), now
        # The dial may have been of a former owner, which says nothing about this one.
        if dial.proves_death and dial.owner == current.owner and self._registry.is_shared:
            self._dead[dial.owner] = time.monotonic()
            return replace(placement, dial=dial), now
        is_known = False
        with contextlib.suppress(RegistryUnavailable):
            owner, now = self._registry.instance(current.owner), self._registry.now()
            is_known = True
        self._agent.beat_anew()
        if self._registry.is_shared:
            # The last snapshot may be older than the owner.
            blind = self._agent.is_blind or not is_known
        else:
            blind = self._is_alone_and_unsure(placement, dial)
        return replace(placement, owner=owner, dial=dial, blind=blind), now

    @staticmethod
    def _is_alone_and_unsure(placement: Placement, dial: Dial) -> bool:
        """Without a cluster no heartbeat is seen, and an owner elsewhere may live: PostgreSQL hears from it then.

        Where witnesses cannot be read either, an owner that never had a listener was this instance before a restart.
        """
        return dial.witness == "held" or (bool(placement.row_address) and dial.witness != "silent")

    def _ask_peers(self, key: Key) -> tuple[SessionRecord, UUID] | None:
        """Asks every instance that we know of: the one that holds the session says so."""
        others = [each for each in self._agent.snapshot.instances.values() if each.id != self._agent.me.id]
        questions = [greenlets.spawn(f"ask-{each.id}", self._ask, each, key) for each in others if each.peer_address]
        greenlets.joinall(questions, timeout=2 * ANSWER_SECS)
        return next((answer for question in questions if (answer := question.value)), None)

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
