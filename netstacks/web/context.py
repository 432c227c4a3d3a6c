"""The dependencies of the views: one `Services`, built by the composition root, stored in the application."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID
from weakref import WeakValueDictionary

from cachetools import TTLCache
from flask import current_app

from netstacks.settings import Settings
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.http.streams import Streams

if TYPE_CHECKING:
    from netstacks.greenlets import SingleFlight
    from netstacks.instance.admission import Admission
    from netstacks.instance.agent import Agent
    from netstacks.instance.broker import Broker
    from netstacks.instance.consistency_watch import ConsistencyWatch
    from netstacks.instance.current_settings import CurrentSettings
    from netstacks.instance.disk_watch import DiskWatch
    from netstacks.instance.drain_control import DrainControl
    from netstacks.instance.forecasts import Forecasts
    from netstacks.instance.history import History
    from netstacks.instance.host_key_prompts import HostKeyPrompts
    from netstacks.instance.log_in_test import LogInTest
    from netstacks.instance.monitor import HealthMonitor
    from netstacks.instance.moves import Moves
    from netstacks.instance.notices import Notices
    from netstacks.instance.observer import Observer
    from netstacks.instance.opener import Opener
    from netstacks.instance.session_survey import SessionSurvey
    from netstacks.instance.withdrawals import Withdrawals
    from netstacks.llm.service import Llm
    from netstacks.peer.client import PeerClient
    from netstacks.peer.token import PeerTokens
    from netstacks.recording.recorder import Recorder
    from netstacks.store.deferred_writes import DeferredWrites
    from netstacks.terminal.hub import Hub
    from netstacks.web.auth.licensing import Licensing
    from netstacks.web.auth.login_states import LoginStates
    from netstacks.web.auth.share_tokens import ShareTokens
    from netstacks.web.auth.tokens import Tokens


@dataclass
class Services:
    """The running parts of one instance."""

    settings: Settings
    system_settings: "CurrentSettings"
    database: Database
    routing_database: Database
    """The same database through connections that pages cannot exhaust, for routing and authorisation."""
    vault: Vault
    tokens: "Tokens"
    login_states: "LoginStates"
    withdrawals: "Withdrawals"
    licensing: "Licensing"
    prompts: "HostKeyPrompts"
    hub: "Hub"
    recorder: "Recorder"
    opener: "Opener"
    broker: "Broker"
    admission: "Admission"
    agent: "Agent"
    health: "HealthMonitor"
    observer: "Observer"
    consistency: "ConsistencyWatch"
    history: "History"
    session_survey: "SessionSurvey"
    peer_tokens: "PeerTokens"
    peers: "PeerClient"
    share_tokens: "ShareTokens"
    deferred_writes: "DeferredWrites"
    llm: "Llm"
    drain_control: "DrainControl"
    moves: "Moves"
    forecasts: "Forecasts"
    notices: "Notices"
    log_in_test: "LogInTest | None" = None
    """None in tests without devices."""
    disk_watch: "DiskWatch | None" = None
    peer_port: int | None = None
    """The port of this worker's private listener; None when it has none."""
    ha_streams: Streams = field(default_factory=Streams)
    """The open event streams of HA status."""
    audit_streams: Streams = field(default_factory=Streams)
    """The open event streams of the audit log."""
    ha_rendered: Any = None
    """HA status as `api.ha_status_json` has last rendered it for all viewers; None before that."""
    share_checks: "WeakValueDictionary[str, SingleFlight]" = field(default_factory=WeakValueDictionary)
    """By share id, the check of its validity that the viewers of the share have in common."""
    highlights: TTLCache[tuple[UUID, bytes], list[Any]] = field(default_factory=lambda: TTLCache(maxsize=500, ttl=300))
    """Answers about highlights, by user and question: the client repeats a question within seconds."""


def services() -> Services:
    """The services of the instance that handles the current request."""
    return cast(Services, current_app.extensions["netstacks"])
