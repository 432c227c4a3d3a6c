"""Claims: taking over a session whose owner is gone, and giving up what was taken in vain. PostgreSQL decides."""

from dataclasses import dataclass
from uuid import UUID

import structlog
from cachetools import TTLCache

from netstacks import greenlets
from netstacks.cluster.routing import Dial
from netstacks.errors import ComeAgain, NetstacksError, OpeningAbandoned, RegistryUnavailable, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.lookup import Found
from netstacks.instance.opener import PERMISSION, Opener, Prepared
from netstacks.instance.pending_claims import PendingClaim, PendingClaims
from netstacks.recording import storage
from netstacks.recording.spool import Spool
from netstacks.registry.base import Registry
from netstacks.store import access, audit, sessions
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.witness import end_connections
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.session import Session

log = structlog.get_logger()

# An instance that was reaped for its proven death is not looked for again with each of its sessions.
_REAPED_SECS = 60.0


@dataclass(frozen=True)
class _Claimed:
    row: SessionRow
    prepared: Prepared | NetstacksError
    """What the log-in needs, or why there is none."""


class Claims:
    """Every change of a session's owner that this instance makes is a compare-and-set on the row's epoch."""

    def __init__(
        self,
        *,
        agent: Agent,
        registry: Registry,
        database: Database,
        opener: Opener,
        pending_claims: PendingClaims,
        deferred_writes: DeferredWrites,
        spool: Spool,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._database = database
        self._opener = opener
        self._pending_claims = pending_claims
        self._deferred_writes = deferred_writes
        self._spool = spool
        self._reaped: TTLCache[str, bool] = TTLCache(1000, _REAPED_SECS)

    def claim(self, found: Found, token: UUID, actor: Actor) -> PendingClaim | None:
        """Takes the session over and begins to log in to its device; None when somebody else was faster.

        What its last owner left in the spool is stored first, while the epoch still allows it. Raises AccessWithdrawn.
        """
        row = found.row
        assert row is not None
        # No yield between the look and the insert: two connections would claim the same session. The opening is there
        # before the row says so, because a peer that asks in between must not take the claim for lost.
        if row.id in self._pending_claims:
            return self._pending_claims[row.id]
        opening = self._pending_claims[row.id] = PendingClaim(row.id, row.epoch + 1, actor)
        claimed = None
        try:
            if not self._spool.restore(self._database, row.id):
                claimed = self._take(found, row, actor)
        finally:
            if claimed is None:
                del self._pending_claims[row.id]
                # Others may wait for it by now.
                opening.fail(ComeAgain("the session could not be taken over here, or another instance was faster"))
        if claimed is None:
            return None
        greenlets.spawn(f"claim-{row.id}", self._continue, claimed, found.placement.dial, token, actor, opening)
        return opening

    def _take(self, found: Found, row: SessionRow, actor: Actor) -> _Claimed | None:
        me = self._agent.me
        self._end_connections(found)
        with self._database.transaction() as tx:
            access.confirm(tx, actor, PERMISSION)
            claimed = sessions.claim(tx, row, owner=me.id, owner_address=me.peer_address or None)
            if claimed is None:
                return None
            audit.append(tx, actor, "session.claimed", f"session:{row.id}", epoch=claimed.epoch, former=row.owner)
            prepared = self._prepare(tx, claimed, actor)
        return _Claimed(claimed, prepared)

    def _prepare(self, tx: Transaction, row: SessionRow, actor: Actor) -> Prepared | NetstacksError:
        """In the transaction of the claim: of the many that follow a loss, each waits for few."""
        try:
            return self._opener.prepare(tx, row, actor)
        except StoreUnavailable:
            raise
        except NetstacksError as error:
            return error

    def _end_connections(self, found: Found) -> None:
        """The owner counts as dead. Frozen in the middle of a transaction, it would keep the row from others.

        An owner that has answered is not frozen: it has let the session go. One whose process is gone holds nothing.
        """
        owner, dial = found.row.owner if found.row else None, found.placement.dial
        is_known = dial is not None and (dial.outcome == "denied" or dial.proves_death)
        if owner is not None and owner != self._agent.me.id and not is_known:
            with self._database.transaction() as tx:
                end_connections(tx, owner)

    def _continue(self, claimed: _Claimed, dial: Dial | None, token: UUID, actor: Actor, opening: PendingClaim) -> None:
        """In its own greenlet: the log-in goes on though the client that caused it has gone again."""
        row = claimed.row
        try:
            self._announce(row, dial)
            if isinstance(claimed.prepared, NetstacksError):
                raise claimed.prepared
            opening.succeed(self._reopen(claimed.prepared, row, token, actor, opening.dialogue))
        except Exception as error:
            log.warning("session.not_reopened", session_id=str(row.id), device=row.device_name, error=str(error))
            # Deferred, not skipped, while PostgreSQL is away: the row must not name an owner that holds nothing.
            self._deferred_writes.put(_give_back, row, actor, str(error) or type(error).__name__)
            opening.fail(error)
        finally:
            del self._pending_claims[row.id]

    def _reopen(self, prepared: Prepared, row: SessionRow, token: UUID, actor: Actor, dialogue: Dialogue) -> Session:
        try:
            return self._opener.reopen(row, prepared, token, actor, dialogue)
        except OpeningAbandoned:
            # What is in the middle of a wait knows only that the opening is given up.
            dialogue.check_stopped()
            raise

    def _announce(self, row: SessionRow, dial: Dial | None) -> None:
        self._agent.record_event("claimed", self._agent.me.id, session=str(row.id), device=row.device_name)
        if dial is not None and dial.proves_death and dial.owner not in self._reaped:
            # No yield before this: all claims of its sessions would ask.
            self._reaped[dial.owner] = True
            self._reap(dial.owner)

    def _reap(self, instance_id: str) -> None:
        try:
            if self._registry.instance(instance_id) is not None:
                self._registry.deregister(instance_id)
                self._agent.record_event("reaped", instance_id, by=self._agent.me.id)
                log.warning("instance.reaped", instance_id=instance_id, proof="its listener refuses, its lock is free")
        except RegistryUnavailable as error:
            del self._reaped[instance_id]
            log.info("instance.not_reaped", instance_id=instance_id, error=str(error))

    def end_orphan(self, found: Found, reason: str) -> SessionRow | None:
        """Ends a session that nobody owns; None when somebody does by now."""
        row = found.row
        assert row is not None
        if self._spool.restore(self._database, row.id):
            return None
        self._end_connections(found)
        with self._database.transaction() as tx:
            ended = sessions.end(tx, row.id, row.epoch, reason)
            if ended is not None:
                storage.note_end(tx, row, ended.epoch, reason)
            return ended

    def give_up(self, session_id: UUID, epoch: int) -> None:
        """Releases a row that names this instance although it neither holds nor opens the session."""
        try:
            with self._database.transaction() as tx:
                row = sessions.find(tx, session_id)
                if row is not None and (row.owner, row.epoch) == (self._agent.me.id, epoch):
                    sessions.release(tx, session_id, epoch)
                    log.warning("session.given_up", session_id=str(session_id), epoch=epoch)
        except StoreUnavailable as error:
            log.info("session.not_given_up", session_id=str(session_id), error=str(error))


def _give_back(tx: Transaction, claimed: SessionRow, actor: Actor, reason: str) -> None:
    """Leaves a session that could not be continued to be claimed again."""
    if sessions.release(tx, claimed.id, claimed.epoch):
        audit.append(tx, actor, "session.claim_failed", f"session:{claimed.id}", reason=reason)
