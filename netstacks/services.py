"""The composition root: builds the rooms of one instance, starts them in order, and takes them down in order."""

import math
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import structlog

from netstacks import __version__, greenlets
from netstacks.cluster import liveness, versions
from netstacks.cluster.draining import DrainPlan, others_open_per_sec, plan_drain
from netstacks.cluster.health import Facts
from netstacks.cluster.model import Instance
from netstacks.crypto.license import TIER_NAMES
from netstacks.errors import StoreUnavailable, VaultLocked
from netstacks.instance.admission import Admission
from netstacks.instance.agent import Agent
from netstacks.instance.agent_check import AgentCheck
from netstacks.instance.broker import Broker
from netstacks.instance.claims import Claims
from netstacks.instance.clock_watch import ClockWatch
from netstacks.instance.dialer import Dialer
from netstacks.instance.disk_watch import DiskWatch
from netstacks.instance.failed_login_summary import FailedLoginSummary
from netstacks.instance.holdings import Holdings
from netstacks.instance.identity import secrets_fingerprint
from netstacks.instance.load_meter import LoadMeter
from netstacks.instance.lookup import Lookup
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.monitor import HealthMonitor
from netstacks.instance.observer import Observer
from netstacks.instance.opener import Opener
from netstacks.instance.reconciler import Reconciler
from netstacks.instance.recording_quota import RecordingQuota
from netstacks.instance.relay_watch import RelayWatch
from netstacks.instance.session_limits import SessionLimits
from netstacks.instance.startup import Startup
from netstacks.instance.vty_lines import VtyLines
from netstacks.instance.withdrawals import Withdrawals
from netstacks.llm import provider_file
from netstacks.llm.directory import Defaults
from netstacks.llm.service import Llm
from netstacks.peer.address import address_towards, joined
from netstacks.peer.client import PeerClient
from netstacks.peer.tls import PeerTls
from netstacks.peer.token import PeerTokens
from netstacks.recording.recorder import Recorder
from netstacks.recording.retention import Retention
from netstacks.recording.spool import Spool
from netstacks.registry import addresses
from netstacks.registry.base import Registry
from netstacks.registry.memory import MemoryRegistry
from netstacks.registry.valkey import open_registry
from netstacks.settings import Settings
from netstacks.store import llm_providers
from netstacks.store.checkup import Checkup
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import IDLE_IN_TRANSACTION_SECS, Database
from netstacks.store.users import ensure_administrator
from netstacks.store.vault import Vault
from netstacks.store.witness import Witness
from netstacks.terminal.hostkeys import HostKeyPrompts
from netstacks.terminal.hub import Hub
from netstacks.web.admission.waiting_room import WaitingRoom
from netstacks.web.auth.licensing import Licensing
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.share_tokens import ShareTokens
from netstacks.web.auth.tokens import Tokens
from netstacks.web.context import Services
from netstacks.web.ws import session_client

log = structlog.get_logger()

# What a drain leaves for storing what is still in memory: this share of DRAIN_TIMEOUT_SECS, and no more than this.
_FLUSH_SHARE, _FLUSH_SECS = 0.5, 10.0
_VAULT_CHECK_SECS = 5.0
# A stall of this length makes sure of every session before the next key is typed into it, which costs one question.
_STOOD_STILL_SECS = 2.0
# Connections to PostgreSQL: for pages and log-ins, for finding, claiming and opening sessions, and for what must not
# wait behind either (recordings, audit, health). One more holds the witness.
_PAGE_CONNECTIONS, _ROUTING_CONNECTIONS, _VITAL_CONNECTIONS = 10, 8, 4

# Where gunicorn.conf.py has the public listener.
_PUBLIC_HOST = "0.0.0.0"  # noqa: S104
# gunicorn ends at this exit code of a worker. Without it, it would start one worker after the other.
_CANNOT_BOOT = 3


class Node:
    """One instance: its parts, and their beginning and end."""

    def __init__(self, settings: Settings, instance_id: str) -> None:
        self._settings = settings
        self._started_at = time.monotonic()
        ttl_secs = settings.ha_stale_instance_ttl_secs
        self._database = Database(
            settings.database_url,
            name=instance_id,
            max_size=_PAGE_CONNECTIONS,
            # What a frozen instance holds is free before it counts as dead.
            idle_in_transaction_secs=min(IDLE_IN_TRANSACTION_SECS, ttl_secs / 2),
        )
        self._routing_database = self._database.reserve(_ROUTING_CONNECTIONS)
        self._vital_database = self._database.reserve(_VITAL_CONNECTIONS)
        self._checkup = Checkup(self._vital_database)
        self._vault = Vault(self._database, settings.vault_master_key, settings.vault_master_key_previous)
        self._vault_problem: str | None = None
        # By itself: health must not wait for a table that is locked.
        self._vault_check = greenlets.Periodic("vault-check", self._check_vault, _VAULT_CHECK_SECS)
        self._deferred_writes = DeferredWrites(self._vital_database)
        self._recorder = Recorder(
            self._vital_database,
            may_compress=lambda: versions.all_have(self._agent.snapshot, versions.READS_COMPRESSED),
        )
        self._spool = Spool(settings.spool_dir)
        self._disk_watch = DiskWatch(settings.spool_dir, settings.disk_free_min_bytes)
        self._witness = Witness(self._database.url, self._routing_database, instance_id, ttl_secs)
        self._loop = LoopWatch(_STOOD_STILL_SECS)
        self._load_meter = LoadMeter()
        # The licence may be in it, and decides which registry this is.
        for database in (self._database, self._routing_database, self._vital_database):
            database.open()
        licensing = Licensing(self._database, settings.license_key)
        self._registry = _registry(settings, licensing)
        self._hub = Hub(self._deferred_writes, settings.session_detach_ttl_secs, settings.session_close_grace_secs)
        self._holdings = Holdings(self._hub, self._recorder)
        self._startup = Startup(self._database, self._vault, prepare=self._prepare, on_ready=self._begin)
        self._retention = Retention(self._database, settings.recording_retention_days)
        self._failed_login_summary = FailedLoginSummary(self._database)
        self._admission = Admission(self._routing_database)
        self._agent = Agent(
            self._me(settings, instance_id),
            self._registry,
            self._hub,
            interval_secs=settings.ha_heartbeat_interval_secs,
            ttl_secs=settings.ha_stale_instance_ttl_secs,
            load=self._admission.load,
        )
        self._llm = Llm(
            database=self._database,
            vault=self._vault,
            registry=self._registry,
            deferred_writes=self._deferred_writes,
            instance_id=instance_id,
            tell=self._agent.record_event,
            defaults=Defaults(settings.llm_first_token_secs, settings.llm_timeout_secs),
            breaker_failures=settings.llm_breaker_failures,
            breaker_cooldown_secs=settings.llm_breaker_cooldown_secs,
            interval_secs=settings.ha_heartbeat_interval_secs,
            user_concurrency=settings.llm_user_concurrency,
            user_daily_tokens=settings.llm_user_daily_tokens,
        )
        self._recording_quota = RecordingQuota(
            self._vital_database,
            self._deferred_writes,
            session_bytes=settings.recording_session_max_bytes,
            user_daily_bytes=settings.recording_user_daily_bytes,
            ends_session=settings.recording_limit_action == "end",
        )
        prompts = HostKeyPrompts(self._database)
        opener = Opener(
            agent=self._agent,
            database=self._routing_database,
            vault=self._vault,
            dialer=Dialer(self._routing_database, self._vault, prompts),
            holdings=self._holdings,
            recorder=self._recorder,
            loop=self._loop,
            limits=SessionLimits(
                self._deferred_writes,
                of_user=settings.user_sessions_max,
                of_device=settings.device_sessions_max,
                openings_of_user=settings.user_openings_max,
            ),
            recording_quota=self._recording_quota,
            log_bytes=settings.session_log_bytes,
        )
        self._hub.on_gone = opener.forget
        peer_tokens = PeerTokens(settings.jwt_secret)
        self.peer_tls = PeerTls.of(settings.ha_peer_tls_cert, settings.ha_peer_tls_key, settings.ha_peer_tls_ca)
        peers = PeerClient(peer_tokens, self.peer_tls.for_dialling() if self.peer_tls else None)
        login_states = LoginStates(self._routing_database, max_days=settings.login_max_days)
        withdrawals = Withdrawals(
            agent=self._agent,
            peers=peers,
            holdings=self._holdings,
            database=self._routing_database,
            forget=login_states.forget,
            close=session_client.close_withdrawn,
        )
        self._reconciler = Reconciler(
            agent=self._agent,
            registry=self._registry,
            database=self._vital_database,
            witness=self._witness,
            peers=peers,
            holdings=self._holdings,
            spool=self._spool,
            ttl_secs=ttl_secs,
            detach_ttl_secs=settings.session_detach_ttl_secs,
        )
        self._relay_watch = RelayWatch(
            self._agent,
            peers,
            interval_secs=settings.ha_heartbeat_interval_secs,
            ttl_secs=settings.ha_stale_instance_ttl_secs,
        )
        self._clock_watch = ClockWatch(self._agent, peers, self._registry, ttl_secs=ttl_secs)
        broker = self._broker(opener, peers)
        opener.make_room = VtyLines(self._routing_database, partial(broker.end, only_detached=True)).make_room
        self.services = Services(
            settings=settings,
            database=self._database,
            routing_database=self._routing_database,
            vault=self._vault,
            tokens=Tokens(settings.jwt_secret),
            login_states=login_states,
            withdrawals=withdrawals,
            licensing=licensing,
            prompts=prompts,
            hub=self._hub,
            recorder=self._recorder,
            opener=opener,
            broker=broker,
            admission=self._admission,
            agent=self._agent,
            health=HealthMonitor(self._gather, lambda: self._agent.is_draining),
            observer=Observer(self._registry, peers.clocks),
            peer_tokens=peer_tokens,
            peers=peers,
            share_tokens=ShareTokens(settings.jwt_secret),
            deferred_writes=self._deferred_writes,
            llm=self._llm,
        )

        self._agent_check = AgentCheck(self.services.health.report)

    def _broker(self, opener: Opener, peers: PeerClient) -> Broker:
        lookup = Lookup(
            agent=self._agent,
            registry=self._registry,
            database=self._routing_database,
            witness=self._witness,
            peers=peers,
            holdings=self._holdings,
        )
        claims = Claims(
            agent=self._agent,
            registry=self._registry,
            database=self._routing_database,
            opener=opener,
            pending_claims=self._holdings.pending_claims,
            deferred_writes=self._deferred_writes,
            spool=self._spool,
        )
        return Broker(
            agent=self._agent,
            ttl_secs=self._settings.ha_stale_instance_ttl_secs,
            lookup=lookup,
            claims=claims,
            witness=self._witness,
            peers=peers,
            holdings=self._holdings,
            recorder=self._recorder,
        )

    @staticmethod
    def _me(settings: Settings, instance_id: str) -> Instance:
        return Instance(
            id=instance_id,
            host=socket.gethostname(),
            peer_address="",
            started_at=time.time(),
            version=__version__,
            state="active",
            secrets_fingerprint=secrets_fingerprint(_master_keys(settings), settings.jwt_secret),
            pid=os.getpid(),
        )

    def _advertise(self, peer_port: int) -> None:
        """Tells peers, by the registry and by the rows of our sessions, where this worker's private listener is."""
        host = self._settings.ha_advertise_host or address_towards(*_near(self._settings))
        self._agent.me = replace(self._agent.me, peer_address=joined(host, peer_port))
        self.services.peer_port = peer_port

    def start(self, peer_port: int | None, waiting_room: WaitingRoom) -> None:
        """Starts everything that runs in the background; to be called in the worker, after the fork."""
        self._waiting_room = waiting_room
        self._listen_for_agent_checks()
        greenlets.look_up_apart()
        greenlets.accept_few_at_once()
        if peer_port is not None:
            self._advertise(peer_port)
            self._relay_watch.start()
            self._clock_watch.start()
        # Without a cluster, too: another instance may look at the same database.
        self._witness.start()
        self._loop.start()
        self._recorder.start()
        self._deferred_writes.start()
        self._spool.prepare()
        self._disk_watch.start()
        self._startup.start()
        self._agent.start()
        self._admission.start()
        self._waiting_room.start()
        self.services.health.start()

    def _listen_for_agent_checks(self) -> None:
        port = self._settings.agent_check_port
        if not port:
            return
        try:
            self._agent_check.start((_PUBLIC_HOST, port), shared=self._settings.web_concurrency > 1)
        except OSError as error:
            log.error(
                "agent_check.refused", port=port, error=error.strerror, advice="set AGENT_CHECK_PORT to a free port"
            )
            # An instance that HAProxy has been told to drain gets no work until it answers here.
            sys.exit(_CANNOT_BOOT)

    def _prepare(self) -> None:
        """The schema is there: what must be done before anything else. Done again when it fails half-way."""
        self._ensure_administrator()
        self._fill_llm_providers()
        self._spool.restore(self._vital_database)

    def _begin(self) -> None:
        """This instance is ready for work."""
        self._reconciler.start()
        self.services.withdrawals.start()
        self._retention.start()
        self._recording_quota.start()
        self._failed_login_summary.start()
        self._vault_check.start()
        self._llm.start()
        self.services.health.wake()

    def drain(self) -> None:
        """Hands over what this instance has, within DRAIN_TIMEOUT_SECS; takes nothing new meanwhile."""
        timeout_secs = self._settings.drain_timeout_secs
        flush_secs = min(timeout_secs * _FLUSH_SHARE, _FLUSH_SECS)
        log.info("instance.draining", sessions=len(self._hub), timeout_secs=timeout_secs)
        self._agent.drain()
        self._waiting_room.hang_up()
        plan = self._plan_drain(timeout_secs - flush_secs)
        self._hub.hand_over_all("the controller is restarting", timeout_secs - flush_secs, plan.per_sec)
        stored = self._recorder.flush(flush_secs)
        self._spool.keep(self._recorder.stop())
        if not self._deferred_writes.flush(1.0):
            log.error(
                "deferred_writes.lost",
                rows=len(self._deferred_writes),
                advice="the database was away: these are not in the audit log",
            )
        self._agent.leave()
        self._witness.stop()
        log.info("instance.drained", stored=stored, unstored_bytes=self._recorder.waiting_bytes)

    def _plan_drain(self, window_secs: float) -> DrainPlan:
        """Says beforehand how long it takes, and when there is too little time for it."""
        me, sessions = self._agent.me.id, self._hub.attached
        others_per_sec = others_open_per_sec(self._agent.snapshot, me, self._settings.ha_stale_instance_ttl_secs)
        plan = plan_drain(sessions, others_per_sec, window_secs)
        needs_secs = math.ceil(plan.needs_secs)
        advice = ""
        if plan.is_too_short:
            advice = (
                f"set DRAIN_TIMEOUT_SECS to {needs_secs + round(_FLUSH_SECS)}: the clients that are closed too early"
                " wait at the other instances"
            )
        log.info("drain.planned", sessions=sessions, needs_secs=needs_secs, has_secs=window_secs, advice=advice)
        details = {"sessions": str(sessions), "needs_secs": str(needs_secs), "has_secs": f"{window_secs:g}"}
        self._agent.record_event("draining", me, **details)
        return plan

    def _ensure_administrator(self) -> None:
        settings = self._settings
        password = ensure_administrator(
            self._database, settings.bootstrap_admin_username, settings.bootstrap_admin_password
        )
        if password is not None and not settings.bootstrap_admin_password:
            # The one secret that is printed, once: nobody could log in otherwise. Not through the log.
            print(
                f"\nFirst start: log in as {settings.bootstrap_admin_username!r} with the password {password!r}"
                " and change it.\n",
                file=sys.stderr,
                flush=True,
            )

    def _fill_llm_providers(self) -> None:
        if self._settings.llm_providers_file is None:
            return
        entries = provider_file.read(self._settings.llm_providers_file)
        with self._database.transaction() as tx:
            filled = llm_providers.fill(tx, self._vault, entries)
        if filled:
            log.info("llm.providers_filled", providers=filled, file=str(self._settings.llm_providers_file))

    def _check_vault(self) -> None:
        """A key that was rotated away while this instance runs is as wrong as one at the start."""
        try:
            if self._startup.ready:
                self._vault.unlock()
            self._vault_problem = None
        except VaultLocked as error:
            self._vault_problem = str(error)
        except StoreUnavailable:
            pass

    def _background(self) -> Iterator[greenlets.Background]:
        yield from (self._recorder.background, self._deferred_writes.background, self._startup.background)
        yield from (self._loop.background, self._witness.periodic, self._reconciler.periodic)
        yield from (self.services.withdrawals.periodic, self._recording_quota.periodic, self._disk_watch.periodic)
        yield self._agent_check.background
        yield from (self._admission.admitting, self._admission.ranking, self._waiting_room.background)
        yield from self._agent.background()
        yield from self._registry.background()
        yield from self._llm.background()

    def _gather(self, now: float) -> Facts:
        # Both at once: when both hang, the facts must not grow as old as those of a loop that is stuck.
        registry = greenlets.spawn("health-registry", self._registry.status)
        database = self._checkup.look()
        return Facts(
            instance_id=self._agent.me.id,
            version=__version__,
            started_at=self._started_at,
            taken_at=now,
            database=database.answers,
            database_problem=database.problem,
            disk_problem=self._disk_watch.problem,
            valkey=registry.get().connection,
            cluster=liveness.summarize(self._agent.snapshot, self._settings.ha_stale_instance_ttl_secs),
            local_sessions=len(self._hub),
            cpu_share=self._load_meter.cpu_share(),
            waiting=len(self._admission),
            starting=not self._startup.ready and self._startup.problem is None,
            leased=self._agent.is_leased,
            differing_secrets=self._agent.differing_secrets,
            schema_problem=self._startup.problem or self._vault_problem,
            witness_held=self._witness.is_held,
            died=tuple(each.name for each in self._background() if each.has_died),
            hub_blocked=self._loop.is_blocked,
        )


def _master_keys(settings: Settings) -> list[bytes]:
    keys = (settings.vault_master_key, settings.vault_master_key_previous)
    return [bytes.fromhex(key) for key in keys if key is not None]


def _near(settings: Settings) -> tuple[str, int]:
    """Where Valkey is, and so on which network the other instances are."""
    if settings.valkey_sentinel_url is not None:
        first = addresses.parse(settings.valkey_sentinel_url)[0]
        return first.host, first.port
    assert settings.valkey_url is not None
    node = addresses.parse_valkey(settings.valkey_url).endpoint
    return node.host, node.port


def _registry(settings: Settings, licensing: Licensing) -> Registry:
    if settings.valkey_url is None and settings.valkey_sentinel_url is None:
        return MemoryRegistry()
    if not licensing.may_cluster():
        tier = TIER_NAMES[licensing.current().tier]
        why = f"Valkey is not used: high availability needs an Enterprise licence, and this one is {tier}"
        log.warning("ha.not_licensed", advice=why)
        return MemoryRegistry(why=why)
    if settings.valkey_url is not None and settings.valkey_sentinel_url is not None:
        log.info(
            "ha.sentinel", advice="VALKEY_SENTINEL_URL wins: of VALKEY_URL only user, password, database and TLS count"
        )
    registry = open_registry(settings.valkey_url, settings.valkey_sentinel_url, settings.valkey_sentinel_master_name)
    registry.follow()
    return registry
