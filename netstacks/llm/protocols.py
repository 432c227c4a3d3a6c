"""The interfaces through which the orchestrator uses the providers, their clients and their circuits."""

from collections.abc import Generator
from typing import Protocol

from netstacks.llm.conversation import ChatRequest, Piece
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.provider import Provider


class Client(Protocol):
    """One provider's client."""

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        """The pieces of the answer; closing the generator cancels the call. Raises ProviderFailure."""


class Breaker(Protocol):
    """One provider's and model's circuit."""

    @property
    def is_closed(self) -> bool:
        """Whether calls may be made."""

    def retry_after_secs(self) -> float:
        """The seconds until the circuit may be closed again."""

    def record(self, outcome: ProviderFailure | None, *, began_at: float) -> None:
        """Records the outcome of a call that began at `began_at` of the monotonic clock: None is a success."""


class Providers(Protocol):
    """The administrator's list of providers, as this instance has read it."""

    def providers(self) -> list[Provider]:
        """The enabled providers in their order."""

    def client(self, provider: Provider) -> Client:
        """The provider's client, which is reused."""
