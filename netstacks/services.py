"""The composition root: builds the parts of one instance and connects them; `lifecycle` starts them."""

import time
from collections.abc import Callable
from functools import partial
from uuid import UUID

from netstacks import lifecycle, membership
from netstacks.cluster import versions
from netstacks.health_facts import HealthFacts, VaultCheck
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
from netstacks.instance.host_key_prompts import HostKeyPrompts
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
from netstacks.lifecycle import BackgroundParts, Lifecycle
from netstacks.llm.directory import Defaults
from netstacks.llm.service import Llm
from netstacks.peer.client import PeerClient
from netstacks.peer.tls import PeerTls
from netstacks.peer.token import PeerTokens
from netstacks.recording.recorder import Recorder
from netstacks.recording.retention import Retention
from netstacks.recording.spool import Spool
from netstacks.settings import Settings
from netstacks.store.checkup import Checkup
from netstacks.store.connections import IDLE_IN_TRANSACTION_SECS
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.store.witness import Witness
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session
from netstacks.web.auth.licensing import Licensing
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.share_tokens import ShareTokens
from netstacks.web.auth.tokens import Tokens
from netstacks.web.context import Services
from netstacks.web.ws import open_clients

# After a stall of this length, each session confirms its ownership with one query before it sends the next key.
_STOOD_STILL_SECS = 2.0
# Connections to PostgreSQL: for pages and log-ins; for finding, claiming and opening sessions; and for what must not
# wait behind either (recordings, audit, health). One more connection holds the witness lock.
_PAGE_CONNECTIONS, _ROUTING_CONNECTIONS, _VITAL_CONNECTIONS = 10, 8, 4


class Node:
    """One instance: `services` are the parts that views use, `lifecycle` starts and drains it.

    `on_drain` is called when an administrator requests a drain; it must return at once.
    """

    def __init__(self, settings: Settings, instance_id: str, *, on_drain: Callable[[], object] = lambda: None) -> None:
        self._settings = settings
        started_at = time.monotonic()
        ttl_secs = settings.ha_stale_instance_ttl_secs
        self._database = Database(
            settings.database_url,
            name=instance_id,
            max_size=_PAGE_CONNECTIONS,
            # PostgreSQL frees the locks of a frozen instance before its peers declare it dead.
            idle_in_transaction_secs=min(IDLE_IN_TRANSACTION_SECS, ttl_secs / 2),
        )
        self._routing_database = self._database.reserve(_ROUTING_CONNECTIONS)
        self._vital_database = self._database.reserve(_VITAL_CONNECTIONS)
        self._vault = Vault(self._database, settings.vault_master_key, settings.vault_master_key_previous)
        self._deferred_writes = DeferredWrites(self._vital_database)
        self._recorder = Recorder(
            self._vital_database,
            # The agent is built below, and the recorder calls this only after the start.
            may_compress=lambda: versions.all_have(self._agent.snapshot, versions.READS_COMPRESSED),
        )
        self._spool = Spool(settings.spool_dir)
        disk_watch = DiskWatch(settings.spool_dir, settings.disk_free_min_bytes)
        self._witness = Witness(self._database.url, self._routing_database, instance_id, ttl_secs)
        self._loop = LoopWatch(_STOOD_STILL_SECS)
        # The licence may be stored in the database, and the choice of the registry depends on the licence.
        for database in (self._database, self._routing_database, self._vital_database):
            database.open()
        licensing = Licensing(self._database, settings.license_key)
        self._registry = membership.choose_registry(settings, licensing)
        self._hub = Hub(
            self._deferred_writes,
            settings.session_detach_ttl_secs,
            settings.session_close_grace_secs,
            on_gone=self._withdraw,
        )
        self._holdings = Holdings(self._hub, self._recorder)
        startup = Startup(
            self._database,
            self._vault,
            prepare=partial(
                lifecycle.prepare,
                settings=settings,
                database=self._database,
                vital_database=self._vital_database,
                vault=self._vault,
                spool=self._spool,
            ),
            # The lifecycle is built last; `startup` runs only after the lifecycle has started it.
            on_ready=lambda: self.lifecycle.begin(),
        )
        self._admission = Admission(self._routing_database)
        self._agent = Agent(
            membership.describe_instance(settings, instance_id),
            self._registry,
            self._hub,
            interval_secs=settings.ha_heartbeat_interval_secs,
            ttl_secs=ttl_secs,
            load=self._admission.load,
            on_drain=on_drain,
        )
        self._llm = Llm(
            database=self._database,
            vault=self._vault,
            registry=self._registry,
            deferred_writes=self._deferred_writes,
            instance_id=instance_id,
            record_event=self._agent.record_event,
            defaults=Defaults(settings.llm_first_token_secs, settings.llm_timeout_secs),
            breaker_failures=settings.llm_breaker_failures,
            breaker_cooldown_secs=settings.llm_breaker_cooldown_secs,
            interval_secs=settings.ha_heartbeat_interval_secs,
            user_concurrency=settings.llm_user_concurrency,
            user_daily_tokens=settings.llm_user_daily_tokens,
        )
        recording_quota = RecordingQuota(
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
            recording_quota=recording_quota,
            log_bytes=settings.session_log_bytes,
            make_room=VtyLines(self._routing_database, self._end_detached).make_room,
        )
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
            close=open_clients.close_withdrawn,
        )
        reconciler = Reconciler(
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
        vault_check = VaultCheck(self._vault, startup)
        health_facts = HealthFacts(
            started_at=started_at,
            ttl_secs=ttl_secs,
            agent=self._agent,
            registry=self._registry,
            hub=self._hub,
            admission=self._admission,
            checkup=Checkup(self._vital_database),
            startup=startup,
            vault_check=vault_check,
            witness=self._witness,
            disk_watch=disk_watch,
            loop=self._loop,
            load_meter=LoadMeter(),
        )
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
            broker=self._broker(opener, peers),
            admission=self._admission,
            agent=self._agent,
            health=HealthMonitor(health_facts.gather, lambda: self._agent.is_draining),
            observer=Observer(self._registry, peers.clocks),
            peer_tokens=peer_tokens,
            peers=peers,
            share_tokens=ShareTokens(settings.jwt_secret),
            deferred_writes=self._deferred_writes,
            llm=self._llm,
        )
        parts = BackgroundParts(
            vital_database=self._vital_database,
            registry=self._registry,
            witness=self._witness,
            spool=self._spool,
            startup=startup,
            health_facts=health_facts,
            vault_check=vault_check,
            disk_watch=disk_watch,
            loop=self._loop,
            relay_watch=RelayWatch(
                self._agent, peers, interval_secs=settings.ha_heartbeat_interval_secs, ttl_secs=ttl_secs
            ),
            clock_watch=ClockWatch(self._agent, peers, self._registry, ttl_secs=ttl_secs),
            agent_check=AgentCheck(self.services.health.report),
            reconciler=reconciler,
            retention=Retention(self._database, settings.recording_retention_days),
            recording_quota=recording_quota,
            failed_login_summary=FailedLoginSummary(self._database),
        )
        self.lifecycle = Lifecycle(self.services, parts)

    def _withdraw(self, session: Session) -> None:
        """A callback of the hub, which the agent that it uses is built around."""
        self._agent.withdraw(session.id, session.facts.epoch)

    def _end_detached(self, session_id: UUID, reason: str) -> None:
        """A callback of the opener, which the broker that it uses is built around."""
        self.services.broker.end(session_id, reason, only_detached=True)

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
