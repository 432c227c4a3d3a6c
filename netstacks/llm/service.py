"""Wires the language model components of one instance."""

from collections.abc import Callable, Iterator
from uuid import UUID

from typing_extensions import TypedDict

from netstacks.cluster.circuits import CircuitState
from netstacks.greenlets import Background
from netstacks.llm import metrics
from netstacks.llm.assistant import Assistant, CallRecord
from netstacks.llm.circuits import Circuits
from netstacks.llm.conversation import Usage
from netstacks.llm.directory import Client, Defaults, Directory
from netstacks.llm.limits import Limits, TokensToday
from netstacks.llm.orchestrator import Orchestrator
from netstacks.llm.prober import Prober
from netstacks.llm.provider import Provider
from netstacks.llm.redaction import Redactor
from netstacks.registry.base import Registry
from netstacks.store import audit, llm_usage, sanitization
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.store.vault import Vault


class ModelCircuit(TypedDict):
    """The shared circuit of a model. Times are in seconds since 1970."""

    model: str
    state: CircuitState
    failures: int
    reason: str
    opened_at: float | None
    next_probe_at: float | None
    retry_after_secs: float


class ProviderState(TypedDict):
    """The shared circuits of a provider's models, and the statistics of this instance's calls."""

    circuits: list[ModelCircuit]
    requests: int
    failures: int
    p50_secs: float | None
    p95_secs: float | None


class Llm:
    """The components of one instance. `record_event` records a cluster event, returns at once and never raises."""

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        registry: Registry,
        deferred_writes: DeferredWrites,
        instance_id: str,
        record_event: Callable[..., object],
        defaults: Defaults,
        breaker_failures: int,
        breaker_cooldown_secs: float,
        interval_secs: float,
        user_concurrency: int,
        user_daily_tokens: int,
    ) -> None:
        self._database = database
        self._vault = vault
        self._deferred_writes = deferred_writes
        self.directory = Directory(database, vault, defaults, _client, interval_secs=interval_secs)
        self.circuits = Circuits(
            registry,
            instance_id,
            record_event,
            failures=breaker_failures,
            cooldown_secs=breaker_cooldown_secs,
            interval_secs=interval_secs,
        )
        limits = Limits(self._tokens_today, user_concurrency=user_concurrency, user_daily_tokens=user_daily_tokens)
        self.orchestrator = Orchestrator(self.directory, self.circuits.circuit_for, limits)
        self.assistant = Assistant(self.directory, self.orchestrator, self._redactor_for, self._account)
        self._prober = Prober(self.circuits, self.directory.providers, self.canary, lambda: self.directory.is_on)

    def start(self) -> None:
        """Starts the background greenlets; to be called when the database schema exists."""
        self.directory.start()
        self.circuits.start()
        self._prober.start()

    def background(self) -> Iterator[Background]:
        yield from (self.directory.periodic, self.circuits.periodic, self._prober.periodic)

    def canary(self, provider: Provider, model: str) -> None:
        """Makes a request for one token, which is accounted to no user. Raises ProviderFailure."""
        usage, failed = Usage(), True
        try:
            usage = self.directory.client(provider).canary(model)
            failed = False
        finally:
            self._count(provider, None, usage, failed=failed)

    def _tokens_today(self, user_id: UUID) -> TokensToday:
        with self._database.transaction() as tx:
            by_provider = llm_usage.today_by_provider(tx)
            user = llm_usage.today_of_user(tx, user_id)
        return TokensToday(user.tokens, {provider_id: each.tokens for provider_id, each in by_provider.items()})

    def _redactor_for(self, user_id: UUID, session_id: UUID | None) -> Redactor:
        with self._database.transaction() as tx:
            return Redactor(sanitization.get(tx), sanitization.known_secrets(tx, self._vault, user_id, session_id))

    def _count(self, provider: Provider, user_id: UUID | None, usage: Usage, *, failed: bool) -> None:
        self._deferred_writes.put_locking(
            f"llm_usage {provider.id} {user_id}",
            llm_usage.add,
            provider_id=provider.id,
            user_id=user_id,
            failed=failed,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )

    def _account(self, called: CallRecord) -> None:
        """Writes usage and an audit row for a call, without its content."""
        attempt, requester, session_id = called.attempt, called.question.requester, called.question.session_id
        metrics.count(attempt)
        self._count(attempt.provider, attempt.user_id, attempt.usage, failed=attempt.failure is not None)
        self._deferred_writes.put(
            audit.append,
            Actor(requester.name, requester.user_id, requester.address),
            "ai.called",
            f"session:{session_id}" if session_id else "ai",
            purpose=called.question.purpose,
            outcome=attempt.outcome,
            provider=attempt.provider.name,
            model=attempt.model,
            input_tokens=attempt.usage.input_tokens,
            output_tokens=attempt.usage.output_tokens,
            redactions=called.redactions,
        )

    def state_of(self, provider_id: UUID) -> ProviderState:
        """The state of a provider: the shared circuits of its models, and the statistics of this instance's calls.

        Reading it consumes no probe.
        """
        figures = self.orchestrator.statistics.of(provider_id)
        return {
            "circuits": [
                self._circuit(provider, model)
                for provider in self.directory.configured()
                if provider.id == provider_id
                for model in provider.models
            ],
            "requests": figures.requests,
            "failures": figures.failures,
            "p50_secs": figures.percentile(0.5),
            "p95_secs": figures.percentile(0.95),
        }

    def _circuit(self, provider: Provider, model: str) -> ModelCircuit:
        breaker = self.circuits.circuit_for(provider, model)
        circuit = breaker.state()
        return {
            "model": model,
            "state": circuit.state,
            "failures": circuit.failures,
            "reason": circuit.reason,
            "opened_at": circuit.opened_at or None,
            "next_probe_at": circuit.open_until or None,
            "retry_after_secs": round(breaker.retry_after_secs(), 1),
        }


def _client(provider: Provider) -> Client:
    # Imported at the first use: the HTTP client costs 0.15 s and some megabytes.
    from netstacks.llm.client import ProviderClient

    return ProviderClient(provider)
