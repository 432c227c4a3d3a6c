"""The types of the JSON of HA status, and of what administrators do on it."""

from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from netstacks.cluster.model import EventKind, LossProof
from netstacks.cluster.overview import ClusterState, Condition
from netstacks.formats import Timestamp, Uuid
from netstacks.web.api.ha_figures_json import AiProviderJson, DatabaseJson, ValkeyJson


class ClusterJson(TypedDict):
    condition: ClusterState
    reason: str | None
    """A sentence without a full stop; null when all is well."""
    expected_instances: int
    expected_by: Literal["setting", "learned"]


class Totals(TypedDict):
    registered_instances: int
    healthy_instances: int
    lost_instances: int
    total_sessions: int
    sessions_without_owner: int | None
    """Null while it is not known."""


class Clocks(TypedDict):
    warning: str | None
    advice: str
    tolerated_secs: float


class UnreadableJson(TypedDict):
    """A record in Valkey that cannot be read."""

    key: str
    problem: str


class InconsistencyJson(TypedDict):
    """A difference between instances on the same database, or in the same Valkey."""

    kind: str
    problem: str
    remedy: str
    instances: list[str]


class InstanceJson(TypedDict):
    id: str
    host: str
    peer_address: str | None
    version: str
    pid: int
    started_at: Timestamp
    status: Condition
    """The same as `condition`."""
    condition: Condition
    problem: str | None
    heartbeat_age_secs: float
    sessions: int
    opens_per_sec: float
    """How many terminals it opens a second."""
    waiting: int
    """How many clients wait to be admitted."""
    clock_skew_secs: float | None
    """How far its clock is ahead of that of the instance that answers; null until it is measured."""
    clock_skew: str | None
    """The same in words."""


class LostSessions(TypedDict):
    """What has become of the sessions of a lost instance."""

    total: int
    taken_over: int
    waiting: int
    ended: int


class LostInstanceJson(TypedDict):
    """An instance that was declared dead and not replaced yet."""

    id: str
    host: str
    peer_address: str | None
    version: str
    started_at: Timestamp
    lost_at: Timestamp
    last_heartbeat_at: Timestamp
    proof: LossProof
    reaped_by: str
    """The instance that declared it dead."""
    sessions: LostSessions | None
    """Null while it is not known."""
    problem: str


@with_config(ConfigDict(extra="allow", use_attribute_docstrings=True))
class ClusterEventJson(TypedDict):
    """An event of the cluster. Its details are further members, as texts."""

    at: Timestamp
    kind: EventKind
    instance_id: str
    text: str
    """The event in words."""


class HaStatus(TypedDict):
    """The state of all instances, of Valkey and of PostgreSQL."""

    instance_id: str
    """The instance that answers."""
    seen_at: Timestamp | None
    """The age of what is known of instances and events."""
    cluster: ClusterJson
    totals: Totals
    valkey: ValkeyJson
    database: DatabaseJson
    clocks: Clocks
    unreadable: list[UnreadableJson]
    inconsistencies: list[InconsistencyJson]
    instances: list[InstanceJson]
    lost: list[LostInstanceJson]
    providers: list[AiProviderJson]
    events: list[ClusterEventJson]
    """The newest ones."""
    event_kinds: list[EventKind]


class InstanceDrain(TypedDict):
    instance_id: str
    state: Literal["active", "draining"]


class SessionMove(TypedDict):
    session_id: Uuid
    state: Literal["moving"]


class Watch(TypedDict):
    share_url: str
    """The link for a browser, for one viewer."""
