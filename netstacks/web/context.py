"""What the views work with: one `Services`, made by the composition root, reached through the application."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

from netstacks.settings import Settings
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.terminal.hostkeys import HostKeyPrompts

if TYPE_CHECKING:
    from netstacks.instance.admission import Admission
    from netstacks.instance.agent import Agent
    from netstacks.instance.broker import Broker
    from netstacks.instance.monitor import HealthMonitor
    from netstacks.instance.observer import Observer
    from netstacks.instance.opener import Opener
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
    database: Database
    routing_database: Database
    """The same with connections that pages cannot take, for who may connect to what."""
    vault: Vault
    tokens: "Tokens"
    login_states: "LoginStates"
    withdrawals: "Withdrawals"
    licensing: "Licensing"
    prompts: HostKeyPrompts
    hub: "Hub"
    recorder: "Recorder"
    opener: "Opener"
    broker: "Broker"
    admission: "Admission"
    agent: "Agent"
    health: "HealthMonitor"
    observer: "Observer"
    peer_tokens: "PeerTokens"
    peers: "PeerClient"
    share_tokens: "ShareTokens"
    deferred_writes: "DeferredWrites"
    llm: "Llm"
    peer_port: int | None = None
    """Where this worker's private listener is, if it has one."""


def services() -> Services:
    """The parts of the instance that serves the current request."""
    return cast(Services, current_app.extensions["netstacks"])
