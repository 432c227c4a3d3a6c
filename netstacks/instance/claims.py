"""Claims: taking over a session whose owner is gone, and releasing it when its device cannot be logged in to."""

from dataclasses import dataclass
from uuid import UUID

import structlog
from cachetools import TTLCache

from netstacks import greenlets, tracing
from netstacks.cluster.routing import Dial
from netstacks.errors import NetstacksError, OpeningAbandoned, RegistryUnavailable, RetryLater, StoreUnavailable
from netstacks.instance import metrics, targets
from netstacks.instance.agent import Agent
from netstacks.instance.lookup import Found
from netstacks.instance.opener import PERMISSION, Opener
from netstacks.instance.pending_claims import PendingClaim, PendingClaims, Prepared
from netstacks.permissions import Reach
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

# The claims of many sessions prove one death; within this time only the first of them reaps the dead instance.
_REAPED_SECS = 60.0


@dataclass(frozen=True)
class _Claimed:
    row: SessionRow
    former: str | None
    """The owner before the claim; None for a session that had been released."""
    prepared: Prepared | NetstacksError
    """The input of the log-in, or the error that prevents it."""


class Claims:
    """Changes owners only by compare-and-set on the epoch of the session's row, so of several claims one wins."""

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
        """Takes the session over and starts the log-in to its device; None when another instance was faster.

        Recordings of its last owner in the spool are stored first: after the claim, PostgreSQL refuses their epoch.
        Raises AccessWithdrawn.
        """
        row = found.row
        assert row is not None
        # No yield between the check and the insert: two connections would claim the same session. The pending claim
        # exists before the row is changed: a peer that reads the row and asks here must not find nothing.
        if row.id in self._pending_claims:
            return self._pending_claims[row.id]
        opening = self._pending_claims[row.id] = PendingClaim(row.id, row.epoch + 1, actor)
        claimed = None
        try:
            if not self._spool.restore(self._database, row.id):
                with tracing.begin("session.claim") as span:
                    span.set("netstacks.session_id", row.id)
                    claimed = self._take(found, row, actor)
                    span.set("netstacks.claimed", claimed is not None)
        finally:
            if claimed is None:
                del self._pending_claims[row.id]
                # Other connections may wait for this pending claim by now.
                opening.fail(RetryLater("the session could not be taken over here, or another instance was faster"))
        if claimed is None:
            return None
        reopen = tracing.carried(self._continue)
        greenlets.spawn(f"claim-{row.id}", reopen, claimed, found.placement.dial, token, actor, opening)
        return opening

    def _take(self, found: Found, row: SessionRow, actor: Actor) -> _Claimed | None:
        me = self._agent.me
        self._end_connections(found)
        with self._database.transaction() as tx:
            reach = access.confirm(tx, actor, PERMISSION).reach
            targets.check_reach(tx, reach, row.device_id)
            claimed = sessions.claim(tx, row, owner=me.id, owner_address=me.peer_address or None)
            if claimed is None:
                metrics.LOST.inc()
                return None
            audit.append(tx, actor, "session.claimed", f"session:{row.id}", epoch=claimed.epoch, former=row.owner)
            prepared = self._prepare(tx, claimed, actor, reach)
        return _Claimed(claimed, row.owner, prepared)

    def _prepare(self, tx: Transaction, row: SessionRow, actor: Actor, reach: Reach) -> Prepared | NetstacksError:
        """Reads in the transaction of the claim: after the loss of an instance, a second one would double the load."""
        try:
            return self._opener.prepare(tx, row, actor, reach)
        except StoreUnavailable:
            raise
        except NetstacksError as error:
            return error

    def _end_connections(self, found: Found) -> None:
        """Ends the PostgreSQL connections of the former owner: a frozen process may hold a lock on the row.

        Not needed for an owner that has answered, or for one whose process is proven to be gone.
        """
        owner, dial = found.row.owner if found.row else None, found.placement.dial
        is_known = dial is not None and (dial.outcome == "denied" or dial.proves_death)
        if owner is not None and owner != self._agent.me.id and not is_known:
            with self._database.transaction() as tx:
                end_connections(tx, owner)

    def _continue(self, claimed: _Claimed, dial: Dial | None, token: UUID, actor: Actor, opening: PendingClaim) -> None:
        """Runs in a greenlet of its own: the log-in goes on when the client that caused it leaves."""
        row = claimed.row
        try:
            self._announce(row, claimed.former, dial)
            if isinstance(claimed.prepared, NetstacksError):
                raise claimed.prepared
            opening.succeed(self._reopen(claimed.prepared, row, token, actor, opening.dialogue))
            metrics.CLAIMED.inc()
        except Exception as error:
            metrics.FAILED.inc()
            log.warning("session.not_reopened", session_id=str(row.id), device=row.device_name, error=str(error))
            # Deferred while PostgreSQL is unreachable: the row must not keep naming an owner without the session.
            self._deferred_writes.put(_give_back, row, actor, str(error) or type(error).__name__)
            opening.fail(error)
        finally:
            del self._pending_claims[row.id]

    def _reopen(self, prepared: Prepared, row: SessionRow, token: UUID, actor: Actor, dialogue: Dialogue) -> Session:
        try:
            with tracing.begin("terminal.reopen") as span:
                span.set("netstacks.session_id", row.id)
                return self._opener.reopen(row, prepared, token, actor, dialogue)
        except OpeningAbandoned:
            # An interrupted wait reports only that the opening was abandoned; `check_stopped` raises the reason.
            dialogue.check_stopped()
            raise

    def _announce(self, row: SessionRow, former: str | None, dial: Dial | None) -> None:
        details = {"session": str(row.id), "device": row.device_name} | ({"former": former} if former else {})
        self._agent.record_event("claimed", self._agent.me.id, **details)
        if dial is not None and dial.proves_death and dial.owner not in self._reaped:
            # No yield between the check and the insert: every claim of a session of this owner would reap it.
            self._reaped[dial.owner] = True
            # Not awaited: a registry that hangs must not delay the log-in to the device.
            greenlets.spawn("reap-proven", self._reap, dial.owner)

    def _reap(self, instance_id: str) -> None:
        try:
            if self._registry.reap_proven(instance_id, by=self._agent.me.id):
                self._agent.report_loss(instance_id, "refused")
        except RegistryUnavailable as error:
            del self._reaped[instance_id]
            log.info("instance.not_reaped", instance_id=instance_id, error=str(error))

    def end_orphan(self, found: Found, reason: str) -> SessionRow | None:
        """Ends a session without a living owner; None when it has an owner again."""
        row = found.row
        assert row is not None
        if self._spool.restore(self._database, row.id):
            return None
        self._end_connections(found)
        with self._database.transaction() as tx:
            ended = sessions.end_orphan(tx, row.id, row.epoch, reason)
            if ended is not None:
                storage.note_end(tx, row, ended.epoch, reason)
            return ended

    def give_up(self, session_id: UUID, epoch: int) -> None:
        """Releases the row of a session that names this instance, which neither holds nor opens the session."""
        try:
            with self._database.transaction() as tx:
                row = sessions.find(tx, session_id)
                if row is not None and (row.owner, row.epoch) == (self._agent.me.id, epoch):
                    sessions.release(tx, session_id, epoch)
                    log.warning("session.given_up", session_id=str(session_id), epoch=epoch)
        except StoreUnavailable as error:
            log.info("session.not_given_up", session_id=str(session_id), error=str(error))


def _give_back(tx: Transaction, claimed: SessionRow, actor: Actor, reason: str) -> None:
    """Releases a session whose log-in has failed, so that it can be claimed again."""
    if sessions.release(tx, claimed.id, claimed.epoch):
        audit.append(tx, actor, "session.claim_failed", f"session:{claimed.id}", reason=reason)
