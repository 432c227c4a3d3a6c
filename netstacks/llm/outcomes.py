"""What became of a question: which provider was asked, which one answers, and which ones were skipped."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from netstacks.llm.conversation import Usage
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.provider import Provider


@dataclass(frozen=True)
class Hint:
    """What a client would like: the type, name or id of a provider, and a model. It is no condition."""

    provider: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A provider that was not asked, or asked in vain."""

    provider: str
    why: str


@dataclass(frozen=True)
class Answering:
    """The first thing that a stream tells: which provider answers, and which ones were skipped."""

    provider: Provider
    model: str
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Seam:
    """From here on another provider continues the answer, because the one before broke off."""

    before: str
    why: str
    provider: Provider
    model: str


@dataclass(frozen=True)
class Attempt:
    """One call to a provider, when it has ended. `usage` is an estimate where the provider did not come to count.

    `outcome` is `answered`, `abandoned` by its caller, or the name of the failure's class.
    """

    user_id: UUID
    provider: Provider
    model: str
    usage: Usage
    took_secs: float
    failure: ProviderFailure | None
    outcome: str


OnAttempt = Callable[[Attempt], None]
