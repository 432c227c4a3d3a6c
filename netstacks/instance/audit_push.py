"""Sends audit rows to targets, syslog receivers and webhooks: at least once, and in the order of the chain.

What waits is in PostgreSQL; an instance holds one batch for each target. The position of a target moves on after the
delivery, so a batch is repeated when the instance dies in between, or when the receiver's answer is lost.
"""

import contextlib
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from netstacks import greenlets
from netstacks.errors import NetstacksError, StoreUnavailable
from netstacks.instance import audit_syslog, audit_webhook
from netstacks.store import audit, audit_chain, audit_targets
from netstacks.store.audit_targets import TYPES, Target
from netstacks.store.pool import Database, Transaction
from netstacks.store.vault import Vault
from netstacks.urls import check_host, check_port

log = structlog.get_logger()

INTERVAL_SECS = 1.0
_BATCH_ROWS = 200
_BATCH_BYTES = 1024 * 1024
_MAX_PAUSE_SECS = 300.0
# After this many failures in a row, an audit row says that the target accepts nothing.
_NOTED_FAILURES = 5

_WAITING = Gauge(
    "netstacks_audit_push_waiting", "Audit rows that wait for the slowest target of a type", ["target_type"]
)
_AGE_SECS = Gauge(
    "netstacks_audit_push_age_seconds",
    "Age of the oldest audit row that waits for a target of a type; 0 when none waits",
    ["target_type"],
)
_DELIVERED = Counter("netstacks_audit_push_rows", "Audit rows that this instance has delivered", ["target_type"])
_FAILED = Counter("netstacks_audit_push_failures", "Batches of audit rows that a target did not take", ["target_type"])


class AuditPush:
    """Runs on every instance. A lease in PostgreSQL decides which one serves a target."""

    def __init__(self, database: Database, vault: Vault, instance_id: str) -> None:
        self._database = database
        self._vault = vault
        self._instance_id = instance_id
        self._busy: set[UUID] = set()
        """The targets that a greenlet of this instance serves."""
        for each in TYPES:
            for metric in (_WAITING, _AGE_SECS, _DELIVERED, _FAILED):
                metric.labels(each)
        self.periodic = greenlets.Periodic("audit-push", self.look, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Begins to serve the targets that have rows waiting, and are served by no instance."""
        with contextlib.suppress(StoreUnavailable):
            with self._database.transaction() as tx:
                leased = audit_targets.lease(tx, self._instance_id, self._busy)
                backlog = {each.type: each for each in audit_targets.backlog(tx)}
            for kind in TYPES:
                _WAITING.labels(kind).set(backlog[kind].rows if kind in backlog else 0)
                _AGE_SECS.labels(kind).set(backlog[kind].age_secs if kind in backlog else 0)
            for target in leased:
                self._busy.add(target.id)
                greenlets.spawn(f"audit-push-{target.id}", self._serve, target.id)

    def _serve(self, target_id: UUID) -> None:
        try:
            while self._deliver_some(target_id):
                pass
        except StoreUnavailable as error:
            # The lease expires, and any instance goes on.
            log.info("audit_push.store_unavailable", target_id=str(target_id), error=str(error))
        finally:
            self._busy.discard(target_id)

    def _deliver_some(self, target_id: UUID) -> bool:
        """Delivers the next batch; False when there is none, or the target does not take it."""
        with self._database.transaction() as tx:
            # Read anew: an administrator may have changed it.
            target = audit_targets.renew(tx, target_id, self._instance_id)
            if target is None:
                return False
            found = audit_chain.feed(tx, target.position, _BATCH_ROWS)
            rows = _batch(found.rows)
            start = rows[0]["position"] if rows else found.after
            if start > target.position:
                return self._skip_gap(tx, target, start)
            if not rows:
                audit_targets.release(tx, target.id, self._instance_id)
                return False
        try:
            with self._database.transaction() as tx:
                secret = audit_targets.secret_of(tx, self._vault, target.id)
            send(target, rows, secret)
        except StoreUnavailable:
            raise
        except NetstacksError as error:
            self._fail(target, error)
            return False
        _DELIVERED.labels(target.type).inc(len(rows))
        with self._database.transaction() as tx:
            if target.failures >= _NOTED_FAILURES:
                audit.append(tx, audit.SYSTEM, "audit.push_recovered", f"audit_target:{target.id}", name=target.name)
            return self._note_delivered(tx, target, rows[-1]["position"] + 1)

    def _skip_gap(self, tx: Transaction, target: Target, after: int) -> bool:
        rows = after - target.position
        facts = {"name": target.name, "rows": rows}
        audit.append(tx, audit.SYSTEM, "audit.push_lost", f"audit_target:{target.id}", **facts)
        log.error("audit_push.rows_lost", target=target.name, rows=rows, advice="retention has removed them")
        return self._note_delivered(tx, target, after)

    def _note_delivered(self, tx: Transaction, target: Target, after: int) -> bool:
        return audit_targets.note_delivered(tx, target.id, self._instance_id, target.position, after)

    def _fail(self, target: Target, error: NetstacksError) -> None:
        _FAILED.labels(target.type).inc()
        longest_secs = min(2.0 ** min(target.failures, 20), _MAX_PAUSE_SECS)
        pause_secs = longest_secs * random.uniform(0.75, 1.0)  # noqa: S311
        log.warning("audit_push.failed", target=target.name, error=str(error), pause_secs=round(pause_secs, 1))
        with self._database.transaction() as tx:
            audit_targets.note_failed(tx, target.id, self._instance_id, str(error), pause_secs)
            if target.failures + 1 == _NOTED_FAILURES:
                facts = {"name": target.name, "problem": str(error), "waiting": target.waiting}
                audit.append(tx, audit.SYSTEM, "audit.push_failing", f"audit_target:{target.id}", **facts)


def _batch(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows whose size together is bounded, and at least one."""
    size = 0
    for index, row in enumerate(rows):
        size += len(json.dumps(row["details"])) + 500
        if size > _BATCH_BYTES and index:
            return rows[:index]
    return rows


def send(target: Target, rows: Sequence[dict[str, Any]], secret: str | None) -> None:
    """Delivers rows to a target now. Raises DeliveryFailed with the reason."""
    if target.type == "webhook":
        audit_webhook.send(target.address, rows, secret, target.ca)
        return
    host, port = split_address(target.address)
    match target.type:
        case "syslog_udp":
            audit_syslog.send_datagrams(host, port, rows)
        case "syslog_tcp":
            audit_syslog.send_stream(host, port, rows, None)
        case "syslog_tls":
            audit_syslog.send_stream(host, port, rows, audit_syslog.tls_context(target.ca))


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises InvalidInput."""
    host, _, port = address.rpartition(":")
    return check_host(host), check_port(port)


def test_row() -> dict[str, Any]:
    """A row that is not in the log, to try a target."""
    names = ("actor_id", "address", "seal", "head")
    facts = {"id": 0, "position": 0, "at": datetime.now(UTC), "actor": "system", "event": "audit.test"}
    return {**dict.fromkeys(names), **facts, "resource": "audit", "details": {"text": "A test of this target."}}
