"""Claims: taking over a session whose owner is gone, and giving up what was taken in vain. PostgreSQL decides."""

from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.routing import Dial
from netstacks.errors import ComeAgain, RegistryUnavailable, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.lookup import Found
from netstacks.instance.opener import Opener
from netstacks.instance.openings import Opening, Openings
from netstacks.registry.base import Registry
from netstacks.store import audit, recordings, sessions
from netstacks.store.audit import Actor
from netstacks.store.outbox import Outbox
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.spool import Spool
from netstacks.store.witness import end_connections

log = structlog.get_logger()


class Claims:
    """Every change of a session's owner that this instance makes is a compare-and-set on the row's epoch."""

    def __init__(
        self,
        *,
        agent: Agent,
        registry: Registry,
        database: Database,
        opener: Opener,
        openings: Openings,
        outbox: Outbox,
        spool: Spool,
    ) -> None:
        self._agent = agent
        self._registry = registry
        self._database = database
        self._opener = opener
        self._openings = openings
        self._outbox = outbox
        self._spool = spool

    def claim(self, found: Found, token: UUID, actor: Actor) -> Opening | None:
        """Takes the session over and begins to log in to its device; None when somebody else was faster.

        What its last owner left in the spool is stored first, while the epoch still allows it.
        """
        row = found.row
        assert row is not None
        # No yield between the look and the insert: two connections would claim the same session. The opening is there
        # before the row says so, because a peer that asks in between must not take the claim for lost.
        if row.id in self._openings:
            return self._openings[row.id]
        opening = self._openings[row.id] = Opening(row.epoch + 1)
        claimed = None
        try:
            if not self._spool.restore(self._database, row.id):
                claimed = self._take(found, row, actor)
        finally:
            if claimed is None:
                del self._openings[row.id]
                # Others may wait for it by now.
                opening.fail(ComeAgain("the session could not be taken over here, or another instance was faster"))
        if claimed is None:
            return None
        greenlets.spawn(f"claim-{row.id}", self._continue, claimed, found.placement.dial, token, actor, opening)
        return opening

    def _take(self, found: Found, row: SessionRow, actor: Actor) -> SessionRow | None:
        me = self._agent.me
        self._end_connections(found)
        with self._database.transaction() as tx:
            claimed = sessions.claim(tx, row, owner=me.id, owner_address=me.peer_address or None)
            if claimed is not None:
                audit.append(tx, actor, "session.claimed", f"session:{row.id}", epoch=claimed.epoch, former=row.owner)
        return claimed

    def _end_connections(self, found: Found) -> None:
        """The owner counts as dead. Frozen in the middle of a transaction, it would keep the row from others.

        An owner that has answered is not frozen: it has let the session go.
        """
        owner, dial = found.row.owner if found.row else None, found.placement.dial
        has_answered = dial is not None and dial.outcome == "denied"
        if owner is not None and owner != self._agent.me.id and not has_answered:
            with self._database.transaction() as tx:
                end_connections(tx, owner)

    def _continue(self, row: SessionRow, dial: Dial | None, token: UUID, actor: Actor, opening: Opening) -> None:
        """In its own greenlet: the log-in goes on though the client that caused it has gone again."""
        try:
            self._announce(row, dial)
            opening.succeed(self._opener.reopen(row, token, actor))
        except Exception as error:
            log.warning("session.not_reopened", session_id=str(row.id), device=row.device_name, error=str(error))
            # By the outbox: the row must not go on naming an owner that holds nothing, even if the database is away.
            self._outbox.put(_give_back, row, actor, str(error) or type(error).__name__)
            opening.fail(error)
        finally:
            del self._openings[row.id]

    def _announce(self, row: SessionRow, dial: Dial | None) -> None:
        try:
            if dial is not None and dial.proves_death and self._registry.instance(dial.owner) is not None:
                self._registry.deregister(dial.owner)
                self._registry.record_event("reaped", dial.owner, by=self._agent.me.id)
                log.warning("instance.reaped", instance_id=dial.owner, proof="its listener refuses, its lock is free")
            self._registry.record_event("claimed", self._agent.me.id, session=str(row.id), device=row.device_name)
        except RegistryUnavailable as error:
            log.info("claim.not_announced", session_id=str(row.id), error=str(error))

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
                recordings.note_end(tx, row, ended.epoch, reason)
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
