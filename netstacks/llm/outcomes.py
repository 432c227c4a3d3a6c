"""The routing of a request: hints, attempts, skipped providers, and failover."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from netstacks.llm.conversation import Usage
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.provider import Provider


@dataclass(frozen=True)
class Hint:
    """The preference of a client: the type, name or id of a provider, and a model. It is not binding."""

    provider: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A provider that was not called, or whose call failed."""

    provider: str
    why: str


@dataclass(frozen=True)
class Answering:
    """The first item of a stream: the provider that answers, and those that were skipped."""

    provider: Provider
    model: str
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class ProviderSwitch:
    """A failover in the middle of an answer: from here on another provider continues it."""

    before: str
    why: str
    provider: Provider
    model: str


@dataclass(frozen=True)
class Attempt:
    """A finished call to a provider. `usage` is an estimate if the provider sent no count.

    `outcome` is `answered`, `abandoned` by the caller, or the name of the failure's class.
    """

    user_id: UUID
    provider: Provider
    model: str
    usage: Usage
    took_secs: float
    failure: ProviderFailure | None
    outcome: str


OnAttempt = Callable[[Attempt], None]
