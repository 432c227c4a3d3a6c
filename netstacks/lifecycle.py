"""The life of one instance: its start, its drain and its end, in an order in which each part finds what it needs."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from netstacks import greenlets, membership, tracing
from netstacks.cluster.draining import (
    FLUSH_SECS,
    DrainPlan,
    flush_secs,
    others_open_per_sec,
    plan_drain,
    window_secs,
)
from netstacks.instance.agent_check import AgentCheck
from netstacks.instance.audit_push import AuditPush
from netstacks.instance.audit_upkeep import AuditUpkeep
from netstacks.instance.change_events import ChangeEvents
from netstacks.instance.failed_login_summary import FailedLoginSummary
from netstacks.instance.reconciler import Reconciler
from netstacks.instance.recording_quota import RecordingQuota
from netstacks.instance.sampler import Sampler
from netstacks.instance.session_times import SessionTimes
from netstacks.instance.startup import Startup
from netstacks.llm import provider_file
from netstacks.recording.retention import Retention
from netstacks.registry.base import Registry
from netstacks.settings import Settings
from netstacks.store import llm_providers
from netstacks.store.pool import Database
from netstacks.store.users import ensure_administrator
from netstacks.store.vault import Vault
from netstacks.stores import Stores
from netstacks.tracing.exporter import Exporter
from netstacks.watches import Watches
from netstacks.web.admission.waiting_room import WaitingRoom
from netstacks.web.context import Services

log = structlog.get_logger()

_DEFERRED_WRITES_SECS = 1.0
_TRACES_SECS = 1.0

# The same address as the public listener's in gunicorn.conf.py.
_PUBLIC_HOST = "0.0.0.0"  # noqa: S104
# gunicorn stops at this exit code of a worker instead of starting a replacement, which would fail as well.
_CANNOT_BOOT = 3


@dataclass(frozen=True, kw_only=True)
class BackgroundParts:
    """The running parts of one instance that views do not use; those that views use are in `Services`."""

    stores: Stores
    watches: Watches
    registry: Registry
    startup: Startup
    change_events: ChangeEvents
    agent_check: AgentCheck
    reconciler: Reconciler
    sampler: Sampler
    audit_upkeep: AuditUpkeep
    audit_push: AuditPush
    retention: Retention
    recording_quota: RecordingQuota
    session_times: SessionTimes
    failed_login_summary: FailedLoginSummary
    trace_exporter: Exporter | None
    """None without OTLP_ENDPOINT: then nothing is recorded."""


class Lifecycle:
    """The start and the drain of one instance: call `start` once, after the fork, and `drain` at the end."""

    def __init__(self, services: Services, parts: BackgroundParts) -> None:
        self._services = services
        self._settings = services.settings
        self._parts = parts

    def start(self, peer_port: int | None, waiting_room: WaitingRoom) -> None:
        """Starts everything that runs in the background; call it in the worker, after the fork.

        `peer_port` is the port of this worker's private listener, None without a cluster. Exits the process with
        gunicorn's code for a worker that cannot boot when AGENT_CHECK_PORT is in use.
        """
        services, parts = self._services, self._parts
        self._waiting_room = waiting_room
        self._listen_for_agent_checks()
        greenlets.use_lookup_threads()
        greenlets.limit_accepts()
        if parts.trace_exporter is not None:
            parts.trace_exporter.start()
            tracing.export_to(parts.trace_exporter.put)
        if peer_port is not None:
            self._advertise(peer_port)
            parts.watches.peers.start()
        # Without a cluster, too: another instance may use the same database.
        parts.stores.witness.start()
        parts.watches.loop.start()
        services.recorder.start()
        services.deferred_writes.start()
        parts.stores.spool.prepare()
        parts.stores.disk_watch.start()
        parts.startup.start()
        services.agent.start()
        parts.sampler.start()
        parts.change_events.start()
        services.admission.start()
        waiting_room.start()
        parts.watches.health_facts.watch(self._backgrounds())
        services.health.start()

    def begin(self) -> None:
        """Starts what needs a ready database; `Startup` calls it."""
        services, parts = self._services, self._parts
        services.system_settings.start()
        services.licensing.start()
        services.notices.start()
        parts.reconciler.start()
        services.withdrawals.start()
        parts.audit_upkeep.start()
        parts.audit_push.start()
        parts.retention.start()
        parts.recording_quota.start()
        parts.session_times.start()
        parts.failed_login_summary.start()
        services.consistency.start()
        parts.watches.vault_check.start()
        services.llm.start()
        services.health.wake()

    def drain(self, on_leaving: Callable[[], object] = lambda: None) -> bool:
        """Hands over the sessions within DRAIN_TIMEOUT_SECS and leaves the cluster; accepts no new ones meanwhile.

        Calls `on_leaving` when the hand-over has ended and the drain can no longer be cancelled. False when it was
        cancelled before: this instance serves on, with the sessions that were not handed over.
        """
        services, parts = self._services, self._parts
        control = services.drain_control
        timeout_secs = self._settings.drain_timeout_secs
        log.info("instance.draining", sessions=len(services.hub), timeout_secs=timeout_secs)
        services.agent.drain()
        services.consistency.periodic.wake()
        self._waiting_room.hang_up()
        plan = self._plan_drain(window_secs(timeout_secs))
        services.hub.hand_over_all(
            "the controller is restarting", plan.window_secs, plan.per_sec, is_cancelled=lambda: control.is_cancelled
        )
        if not control.leave():
            self._resume()
            return False
        on_leaving()
        stored = services.recorder.flush(flush_secs(timeout_secs))
        parts.stores.spool.keep(services.recorder.stop())
        if not services.deferred_writes.flush(_DEFERRED_WRITES_SECS):
            log.error(
                "deferred_writes.lost",
                rows=len(services.deferred_writes),
                advice="PostgreSQL was not reachable: these rows are missing in the audit log",
            )
        services.agent.leave()
        # After `leave`: as long as the lock is held, no peer takes this process for dead.
        parts.stores.witness.stop()
        # Best effort, and so after everything that must be done before the process is killed.
        services.consistency.leave()
        if parts.trace_exporter is not None and not parts.trace_exporter.flush(_TRACES_SECS):
            log.warning("traces.not_flushed", spans=len(parts.trace_exporter))
        log.info("instance.drained", stored=stored, unstored_bytes=services.recorder.waiting_bytes)
        return True

    def _resume(self) -> None:
        services = self._services
        services.hub.reopen()
        # Before the agent, which waits for the registry: a drain that is requested meanwhile must not be forgotten.
        services.drain_control.resume()
        services.agent.resume()
        services.consistency.periodic.wake()
        services.health.wake()
        log.info("instance.drain_cancelled", sessions=len(services.hub))

    def _advertise(self, peer_port: int) -> None:
        self._services.agent.advertise(membership.peer_address(self._settings, peer_port))
        self._services.peer_port = peer_port

    def _listen_for_agent_checks(self) -> None:
        port = self._settings.agent_check_port
        if not port:
            return
        try:
            self._parts.agent_check.start((_PUBLIC_HOST, port), shared=self._settings.web_concurrency > 1)
        except OSError as error:
            log.error(
                "agent_check.refused", port=port, error=error.strerror, advice="set AGENT_CHECK_PORT to a free port"
            )
            # After a drain, HAProxy sends an instance no work until its agent-check answers again.
            sys.exit(_CANNOT_BOOT)

    def _plan_drain(self, has_secs: float) -> DrainPlan:
        """Plans the pace of the drain and reports how long it takes, and whether the window is too short for it."""
        agent, sessions = self._services.agent, self._services.hub.attached
        ttl_secs = self._settings.ha_stale_instance_ttl_secs
        plan = plan_drain(sessions, others_open_per_sec(agent.snapshot, agent.me.id, ttl_secs), has_secs)
        needs_secs = math.ceil(plan.needs_secs)
        advice = ""
        if plan.is_too_short:
            advice = (
                f"set DRAIN_TIMEOUT_SECS to {needs_secs + round(FLUSH_SECS)}: with less, clients wait in the admission"
                " queues of the other instances"
            )
        log.info("drain.planned", sessions=sessions, needs_secs=needs_secs, has_secs=has_secs, advice=advice)
        details = {"sessions": str(sessions), "needs_secs": str(needs_secs), "has_secs": f"{has_secs:g}"}
        agent.record_event("draining", agent.me.id, **details)
        return plan

    def _backgrounds(self) -> Iterator[greenlets.Background]:
        services, parts = self._services, self._parts
        yield from (services.recorder.background, services.deferred_writes.background, parts.startup.background)
        yield from (parts.watches.loop.background, parts.stores.witness.periodic, parts.reconciler.periodic)
        yield from (services.withdrawals.periodic, parts.recording_quota.periodic, parts.stores.disk_watch.periodic)
        yield from (parts.retention.periodic, parts.failed_login_summary.periodic, parts.watches.vault_check.periodic)
        yield from (services.system_settings.periodic, services.licensing.periodic, parts.session_times.periodic)
        yield from parts.watches.peers.background()
        yield from parts.change_events.background()
        yield from (parts.agent_check.background, services.consistency.periodic, parts.sampler.periodic)
        yield from (services.admission.admitting, services.admission.ranking, self._waiting_room.background)
        if parts.trace_exporter is not None:
            yield parts.trace_exporter.background
        yield from services.notices.background()
        yield from (parts.audit_upkeep.sealing, parts.audit_upkeep.keeping, parts.audit_push.periodic)
        yield from services.agent.background()
        yield from parts.registry.background()
        yield from services.llm.background()


def prepare(settings: Settings, stores: Stores) -> None:
    """Does what must precede all other work once the schema is there. `Startup` repeats it after a failure."""
    _ensure_administrator(settings, stores.database)
    _fill_llm_providers(settings, stores.database, stores.vault)
    stores.spool.restore(stores.vital_database)


def _ensure_administrator(settings: Settings, database: Database) -> None:
    password = ensure_administrator(database, settings.bootstrap_admin_username, settings.bootstrap_admin_password)
    if password is not None and not settings.bootstrap_admin_password:
        # Printed once, and not logged: without this password no user could log in, and logs are kept and shipped.
        print(
            f"\nFirst start: log in as {settings.bootstrap_admin_username!r} with the password {password!r}"
            " and change it.\n",
            file=sys.stderr,
            flush=True,
        )


def _fill_llm_providers(settings: Settings, database: Database, vault: Vault) -> None:
    if settings.llm_providers_file is None:
        return
    entries = provider_file.read(settings.llm_providers_file)
    with database.transaction() as tx:
        filled = llm_providers.fill(tx, vault, entries)
    if filled:
        log.info("llm.providers_filled", providers=filled, file=str(settings.llm_providers_file))
