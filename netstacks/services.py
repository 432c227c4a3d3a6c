"""The composition root: builds the parts of one instance and connects them; `lifecycle` starts them."""

import time
from dataclasses import replace
from functools import partial
from uuid import UUID

from netstacks import lifecycle, membership
from netstacks.broker_parts import build_broker
from netstacks.cluster import versions
from netstacks.cluster.health import for_heartbeat
from netstacks.cluster.model import Load
from netstacks.instance.admission import Admission
from netstacks.instance.agent import Agent
from netstacks.instance.agent_check import AgentCheck
from netstacks.instance.audit_push import AuditPush
from netstacks.instance.audit_upkeep import AuditUpkeep
from netstacks.instance.change_events import ChangeEvents
from netstacks.instance.current_settings import CurrentSettings, of_environment
from netstacks.instance.dialer import Dialer
from netstacks.instance.drain_control import DrainControl
from netstacks.instance.failed_login_summary import FailedLoginSummary
from netstacks.instance.forecasts import Forecasts
from netstacks.instance.history import History
from netstacks.instance.holdings import Holdings
from netstacks.instance.host_key_prompts import HostKeyPrompts
from netstacks.instance.log_in_test import LogInTest
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.monitor import HealthMonitor
from netstacks.instance.moves import Moves
from netstacks.instance.notices import Notices
from netstacks.instance.observer import Observer
from netstacks.instance.opener import Opener
from netstacks.instance.reconciler import Reconciler
from netstacks.instance.recording_quota import RecordingQuota
from netstacks.instance.sampler import Sampler
from netstacks.instance.session_limits import SessionLimits
from netstacks.instance.session_survey import SessionSurvey
from netstacks.instance.session_times import SessionTimes
from netstacks.instance.startup import Startup
from netstacks.instance.vty_lines import VtyLines
from netstacks.instance.withdrawals import Withdrawals
from netstacks.lifecycle import BackgroundParts, Lifecycle
from netstacks.llm.directory import Defaults
from netstacks.llm.service import Llm
from netstacks.peer.client import PeerClient
from netstacks.peer.tls import PeerTls
from netstacks.peer.token import PeerTokens
from netstacks.recording.retention import Retention
from netstacks.settings import Settings
from netstacks.store.setting_definitions import RECORDING_DAYS, SESSIONS_PER_USER
from netstacks.stores import Stores
from netstacks.terminal.hub import Hub
from netstacks.tracing.exporter import Exporter
from netstacks.watches import Watches
from netstacks.web.auth.licensing import Licensing
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.share_tokens import ShareTokens
from netstacks.web.auth.tokens import Tokens
from netstacks.web.context import Services
from netstacks.web.ws import open_clients

# After a stall of this length, each session confirms its ownership with one query before it sends the next key.
_STOOD_STILL_SECS = 2.0


class Node:
    """One instance: `services` are the parts that views use, `lifecycle` starts and drains it."""

    def __init__(self, settings: Settings, instance_id: str) -> None:
        started_at = time.monotonic()
        ttl_secs = settings.ha_stale_instance_ttl_secs
        # The agent is built below, and the recorder asks only after the start.
        stores = Stores(
            settings,
            instance_id,
            may_compress=lambda: versions.all_have(self._agent.snapshot, versions.READS_COMPRESSED),
        )
        system_settings = CurrentSettings(
            stores.vital_database,
            environment=of_environment(settings),
            interval_secs=settings.ha_heartbeat_interval_secs,
        )
        loop = LoopWatch(_STOOD_STILL_SECS)
        # The licence may be stored in the database, and the choice of the registry depends on the licence.
        stores.open()
        licensing = Licensing(stores.database, settings.license_key, interval_secs=settings.ha_heartbeat_interval_secs)
        registry = membership.choose_registry(settings, licensing)
        hub = Hub(
            stores.deferred_writes,
            settings.session_detach_ttl_secs,
            settings.session_close_grace_secs,
            # The agent is built around the hub.
            on_gone=lambda session: self._agent.withdraw(session.id, session.facts.epoch),
            on_changed=lambda session: self._agent.republish(session.record()),
        )
        holdings = Holdings(hub, stores.recorder)
        startup = Startup(
            stores.database,
            stores.vault,
            prepare=partial(lifecycle.prepare, settings, stores),
            # The lifecycle is built last; `startup` runs only after the lifecycle has started it.
            on_ready=lambda: self.lifecycle.begin(),
        )
        self._admission = Admission(stores.routing_database)
        drain_control = DrainControl()
        self._agent = Agent(
            membership.describe_instance(settings, instance_id),
            registry,
            hub,
            interval_secs=settings.ha_heartbeat_interval_secs,
            ttl_secs=ttl_secs,
            load=self._load,
            on_drain=drain_control.request,
            on_cancel=drain_control.request_cancel,
        )
        llm = Llm(
            database=stores.database,
            vault=stores.vault,
            registry=registry,
            deferred_writes=stores.deferred_writes,
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
            stores.vital_database,
            stores.deferred_writes,
            session_bytes=settings.recording_session_max_bytes,
            user_daily_bytes=settings.recording_user_daily_bytes,
            ends_session=settings.recording_limit_action == "end",
        )
        prompts = HostKeyPrompts(stores.database)
        dialer = Dialer(stores.routing_database, stores.vault, prompts, stores.deferred_writes.put)
        opener = Opener(
            agent=self._agent,
            database=stores.routing_database,
            vault=stores.vault,
            dialer=dialer,
            holdings=holdings,
            recorder=stores.recorder,
            loop=loop,
            limits=SessionLimits(
                stores.deferred_writes,
                of_user=partial(system_settings.get, SESSIONS_PER_USER),
                of_device=settings.device_sessions_max,
                openings_of_user=settings.user_openings_max,
            ),
            recording_quota=recording_quota,
            settings=system_settings,
            log_bytes=settings.session_log_bytes,
            make_room=VtyLines(stores.routing_database, self._end_detached).make_room,
        )
        peer_tokens = PeerTokens(settings.jwt_secret, settings.jwt_secret_accepted)
        self.peer_tls = PeerTls.of(settings.ha_peer_tls_cert, settings.ha_peer_tls_key, settings.ha_peer_tls_ca)
        peers = PeerClient(peer_tokens, self.peer_tls.for_dialling() if self.peer_tls else None)
        login_states = LoginStates(stores.routing_database, max_days=settings.login_max_days)
        withdrawals = Withdrawals(
            agent=self._agent,
            peers=peers,
            holdings=holdings,
            database=stores.routing_database,
            forget=login_states.forget,
            forget_role=login_states.forget_role,
            close=open_clients.close_withdrawn,
        )
        reconciler = Reconciler(
            agent=self._agent,
            registry=registry,
            database=stores.vital_database,
            witness=stores.witness,
            peers=peers,
            holdings=holdings,
            spool=stores.spool,
            ttl_secs=ttl_secs,
            detach_ttl_secs=settings.session_detach_ttl_secs,
        )
        watches = Watches(
            settings,
            stores,
            started_at=started_at,
            agent=self._agent,
            registry=registry,
            hub=hub,
            admission=self._admission,
            startup=startup,
            loop=loop,
            peers=peers,
        )
        observer = Observer(
            registry,
            peers.clocks,
            stores.database,
            last_snapshot=lambda: self._agent.snapshot,
            check_clock=self._agent.contact.check_clock,
        )
        self.services = Services(
            settings=settings,
            system_settings=system_settings,
            database=stores.database,
            routing_database=stores.routing_database,
            vault=stores.vault,
            tokens=Tokens(settings.jwt_secret, settings.jwt_secret_accepted),
            login_states=login_states,
            withdrawals=withdrawals,
            licensing=licensing,
            prompts=prompts,
            hub=hub,
            recorder=stores.recorder,
            opener=opener,
            log_in_test=LogInTest(stores.routing_database, dialer),
            broker=build_broker(
                agent=self._agent,
                registry=registry,
                database=stores.routing_database,
                witness=stores.witness,
                peers=peers,
                holdings=holdings,
                opener=opener,
                deferred_writes=stores.deferred_writes,
                spool=stores.spool,
                recorder=stores.recorder,
                ttl_secs=ttl_secs,
            ),
            admission=self._admission,
            agent=self._agent,
            health=HealthMonitor(
                watches.health_facts.gather, lambda: self._agent.is_draining, on_refreshed=self._agent.report_health
            ),
            observer=observer,
            history=History(registry, observer.instance_ids),
            session_survey=SessionSurvey(stores.database, peers, hub, instance_id),
            consistency=watches.consistency,
            peer_tokens=peer_tokens,
            peers=peers,
            share_tokens=ShareTokens(settings.jwt_secret, settings.jwt_secret_accepted),
            deferred_writes=stores.deferred_writes,
            llm=llm,
            drain_control=drain_control,
            moves=Moves(self._agent, ttl_secs),
            notices=Notices(
                stores.database,
                stores.vault,
                system_settings,
                registry,
                stores.deferred_writes,
                licensing.current,
                instance_id=instance_id,
            ),
            forecasts=Forecasts(
                hub,
                self._agent,
                stores.routing_database,
                drain_timeout_secs=settings.drain_timeout_secs,
                ttl_secs=ttl_secs,
            ),
            disk_watch=stores.disk_watch,
        )
        parts = BackgroundParts(
            stores=stores,
            watches=watches,
            registry=registry,
            startup=startup,
            change_events=ChangeEvents(
                self._agent, stores.database.contact, stores.disk_watch, licensing.current, ttl_secs=ttl_secs
            ),
            agent_check=AgentCheck(self.services.health.report),
            reconciler=reconciler,
            sampler=Sampler(self._agent, registry, hub, loop),
            audit_upkeep=AuditUpkeep(stores.database),
            audit_push=AuditPush(stores.database, stores.vault, instance_id),
            retention=Retention(stores.database, partial(system_settings.get, RECORDING_DAYS)),
            recording_quota=recording_quota,
            session_times=SessionTimes(hub, system_settings, stores.deferred_writes),
            failed_login_summary=FailedLoginSummary(stores.database),
            trace_exporter=(
                Exporter(settings.otlp_endpoint, settings.otlp_headers, instance_id) if settings.otlp_endpoint else None
            ),
        )
        self.lifecycle = Lifecycle(self.services, parts)

    def _load(self) -> Load:
        """What a heartbeat reports. A callback of the agent, which the health monitor is built around."""
        health, reason = for_heartbeat(self.services.health.report())
        return replace(self._admission.load(), health=health, reason=reason)

    def _end_detached(self, session_id: UUID, reason: str) -> None:
        """A callback of the opener, which the broker that it uses is built around."""
        self.services.broker.end(session_id, reason, only_detached=True)
