"""What each instance says of itself in PostgreSQL, which instances share even when they do not share a Valkey."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# The registry of an instance that uses no Valkey, and of one whose Valkey has not answered yet.
NO_REGISTRY, UNKNOWN_REGISTRY = "none", ""
# How the texts about a dial begin that reached its peer and failed by TLS.
TLS_FAILS = "TLS fails: "
# The longest time between two looks at the other instances, and the age at which a row no longer counts: two renewals
# are missing.
_MAX_LOOK_SECS, MAX_AGE_SECS = 10.0, 25.0
_MAX_NAMES = 5


def look_secs(heartbeat_secs: float) -> float:
    """How often an instance renews its row and looks at the others: every second heartbeat."""
    return min(_MAX_LOOK_SECS, 2 * heartbeat_secs)


InconsistencyKind = Literal["registry", "database", "setting", "secrets", "unreachable"]


@dataclass(frozen=True)
class InstanceRow:
    """The row of one instance, which it last renewed at `seen_at`, `age_secs` ago: both by PostgreSQL's clock."""

    id: str
    host: str
    peer_address: str
    version: str
    registry: str
    """The id of the Valkey that it uses, or NO_REGISTRY or UNKNOWN_REGISTRY."""
    seen_at: float = 0.0
    age_secs: float = 0.0
    is_draining: bool = False
    why_no_registry: str = ""
    """Why a configured Valkey is not used, as a text."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The settings that must agree, by name. A row of another version may lack some."""
    secrets: str = ""
    """The fingerprint of its secrets, which reveals none of them."""
    reached: int = 0
    """How many peers answered its last dials."""
    unreachable: Mapping[str, str] = field(default_factory=dict)
    """How the dials to living peers failed, by instance id."""
    recorded: tuple[str, ...] = ()
    """The keys of the inconsistencies that it knows an event of the cluster for."""

    @property
    def name(self) -> str:
        return f"{self.id} on {self.host}"


@dataclass(frozen=True)
class Inconsistency:
    """A difference between instances that does harm. `kind` and `about` together identify it while it lasts."""

    kind: InconsistencyKind
    problem: str
    """One sentence without a full stop, with the names of the instances."""
    remedy: str
    instances: tuple[str, ...]
    about: str = ""
    """The setting or the instance in question."""
    differing: tuple[str, ...] = ()
    """Only for different secrets: the instances of the minority that do not share one registry with all others. A
    shared registry compares the secrets itself, and refuses the different ones."""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.about}".rstrip()


def named(rows: Sequence[InstanceRow]) -> str:
    """The names of the instances as a part of a sentence; of many, only the first."""
    found = [each.name for each in rows]
    if len(found) > _MAX_NAMES:
        found = [*found[: _MAX_NAMES - 1], f"{len(found) - _MAX_NAMES + 1} others"]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def ids(rows: Sequence[InstanceRow]) -> tuple[str, ...]:
    return tuple(each.id for each in rows)
