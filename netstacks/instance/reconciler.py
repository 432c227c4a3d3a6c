"""The reconciler: brings the sessions of this instance in line with their rows in PostgreSQL, and ends orphans.

An orphan is a live session whose owner is gone. It can be claimed for SESSION_DETACH_TTL_SECS, then it ends.
"""

import contextlib
from collections.abc import Iterable
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.model import Instance, Peer, SessionState
from netstacks.cluster.reconciliation import End, Fence, Proof, Signs, is_alive, is_forsaken, is_gone, judge_held
from netstacks.cluster.routing import Outcome, Witness
from netstacks.errors import PeerFailed, RegistryUnavailable, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.holdings import Holdings
from netstacks.instance.lookup import WitnessReader
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.peer.client import NoAnswer, PeerClient
from netstacks.recording import storage
from netstacks.recording.spool import Spool
from netstacks.registry.base import Registry
from netstacks.store import audit, sessions
from netstacks.store.held_sessions import Held, Page, differences
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.witness import end_connections
from netstacks.terminal.session import Session
from netstacks.terminal.session_facts import State

log = structlog.get_logger()

INTERVAL_SECS = 5.0
# The most sessions compared without a yield: it takes some milliseconds, in which the terminals wait.
_PAGE_SESSIONS = 500


class Reconciler:
    """Changes rows only by compare-and-set on the epoch, so any number of instances may run it at once."""

    def __init__(
        self,
        *,
        agent: Agent,
        registry: Registry,
        database: Database,
        witness: WitnessReader,
        peers: PeerClient,
        holdings: Holdings,
        spool: Spool,
        ttl_secs: float,
        detach_ttl_secs: float,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._database = database
        self._witness = witness
        self._peers = peers
        self._holdings = holdings
        self._spool = spool
        self._ttl_secs = ttl_secs
        self._detach_ttl_secs = detach_ttl_secs
        self.periodic = greenlets.Periodic("reconciler", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Compares once in both directions, stores spooled recordings, and handles the sessions of dead instances."""
        try:
            self._reconcile_own()
            # Before a claim by another instance: afterwards PostgreSQL refuses the epoch of these recordings.
            self._spool.restore(self._database)
            self._look_after_orphans()
        except StoreUnavailable as error:
            log.info("reconciler.not_looked", error=str(error))

    def _reconcile_own(self) -> None:
        # Ordered as PostgreSQL orders ids: each page is also the range of ids in which rows without a copy are found.
        held = sorted(self._holdings.hub, key=lambda session: session.id.int)
        after: UUID | None = None
        for start in range(0, len(held) or 1, _PAGE_SESSIONS):
            sessions_here = held[start : start + _PAGE_SESSIONS]
            upto = sessions_here[-1].id if start + _PAGE_SESSIONS < len(held) else None
            self._reconcile_page(sessions_here, after, upto)
            after = upto

    def _reconcile_page(self, held: list[Session], after: UUID | None, upto: UUID | None) -> None:
        me = self._agent.me.id
        page = Page([Held(each.id, each.facts.epoch, _state_of(each)) for each in held], after, upto)
        with self._database.transaction() as tx:
            found = differences(tx, me, page)
        rows, missing = {row.id: row for row in found.rows}, set(found.missing)
        for session in held:
            if session.id in rows or session.id in missing:
                self._reconcile_held(session, rows.get(session.id))
        for row in rows.values():
            if is_forsaken(row.record(), me, held=self._holdings.has(row.id)):
                self._release(row)

    def _reconcile_held(self, session: Session, row: SessionRow | None) -> None:
        match judge_held(
            session.facts.epoch,
            row.record() if row else None,
            end_reason=row.end_reason if row else None,
            end_requested=row.end_requested if row else None,
        ):
            case End(reason):
                session.end(reason)
            case Fence():
                session.fence()
            case _ if row is not None and session.is_live and row.state != session.state.value:
                self._holdings.hub.write_state(session)

    def _release(self, row: SessionRow) -> None:
        with self._database.transaction() as tx:
            released = sessions.release(tx, row.id, row.epoch)
        if released is not None:
            log.warning("session.given_up", session_id=str(row.id), epoch=row.epoch)

    def _look_after_orphans(self) -> None:
        with self._database.transaction() as tx:
            owners = sessions.other_owners(tx, self._agent.me.id)
        gone = self._gone(owners)
        with self._database.transaction() as tx:
            for owner in gone:
                # A process frozen within a transaction may hold locks on these rows.
                end_connections(tx, owner)
        while self._detach_some(gone):
            pass
        while self._end_some(gone):
            pass

    def _detach_some(self, gone: list[str]) -> bool:
        with self._database.transaction() as tx:
            return sessions.detach_orphans(tx, gone)

    def _end_some(self, gone: list[str]) -> bool:
        """Ends one batch of orphans in a transaction; False when none was left."""
        with self._database.transaction() as tx:
            due = sessions.due_orphans(tx, gone, self._detach_ttl_secs)
            return sum([self._end(tx, row) for row in due]) > 0

    def _gone(self, owners: Iterable[Peer]) -> list[str]:
        """The owners that are gone. The witness in PostgreSQL is read first, then the owner is dialled."""
        doubtful = [owner for owner in owners if not self._is_fresh(owner.id)]
        if not doubtful:
            return []
        sights = self._witness.of_all([owner.id for owner in doubtful])
        seen = {owner.id: self._ask_registry(owner.id) for owner in doubtful}
        # After the entries were read, once for all owners: the registry may have come back empty since the last
        # heartbeat, and `is_blind` is valid only after a new one.
        self._agent.beat_anew()
        return [owner.id for owner in doubtful if self._is_gone(owner, sights[owner.id], seen[owner.id])]

    def _ask_registry(self, instance_id: str) -> tuple[Instance | None, float] | None:
        """The registered instance and the time by the registry's clock; None when the registry does not answer."""
        with contextlib.suppress(RegistryUnavailable):
            return self._registry.instance(instance_id), self._registry.now()
        return None

    def _is_fresh(self, instance_id: str) -> bool:
        snapshot = self._agent.snapshot
        return is_alive(snapshot.instances.get(instance_id), "unknown", snapshot.taken_at, self._ttl_secs)

    def _is_gone(self, owner: Peer, witness: Witness, seen: tuple[Instance | None, float] | None) -> bool:
        registered, now = seen or (None, 0.0)
        if is_alive(registered, witness, now, self._ttl_secs):
            return False
        proof: Proof = "counts"
        if not self._registry.is_shared:
            proof = "alone"
        elif seen is None or self._agent.is_blind:
            proof = "blind"
        return is_gone(Signs(registered, proof, witness, self._dial(owner)), now, self._ttl_secs)

    def _dial(self, owner: Peer) -> Outcome:
        if not owner.address:
            return "refused"  # An owner without an address never had a listener.
        try:
            answer = self._peers.call(owner, ALIVE_PATH)
        except PeerFailed:
            return "declined"
        return answer.outcome if isinstance(answer, NoAnswer) else "confirmed"

    def _end(self, tx: Transaction, row: SessionRow) -> bool:
        late = f"its user did not come back within {self._detach_ttl_secs:g} s"
        reason = row.end_requested or (late if row.owner is None else f"its instance was lost and {late}")
        ended = sessions.end_orphan(tx, row.id, row.epoch, reason)
        if ended is None:
            return False
        storage.note_end(tx, row, ended.epoch, reason)
        audit.append(tx, audit.SYSTEM, "session.closed", f"session:{row.id}", device=row.device_name, reason=reason)
        log.info("session.orphan_ended", session_id=str(row.id), former=row.owner)
        return True


def _state_of(session: Session) -> SessionState:
    match session.state:
        case State.ACTIVE:
            return "active"
        case State.DETACHED:
            return "detached"
        case _:
            return "ended"
