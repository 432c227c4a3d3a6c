"""The prober: tests with one cheap request whether a provider with an open circuit works again."""

from collections.abc import Callable, Sequence

from netstacks import greenlets
from netstacks.llm.breaker import Breaker
from netstacks.llm.circuits import Circuits
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.provider import Provider

INTERVAL_SECS = 1.0
# A lease is longer than its probe by this, so that no other instance probes at the same time.
_LEASE_SLACK_SECS = 5.0


class Prober:
    """Sends one probe per cluster for each circuit that is due. Requests of users are never used as probes.

    `providers` returns the configured providers, `is_on` whether AI is switched on: while it is off, nothing is sent.
    `canary` makes one call for one token within the provider's total time, and raises ProviderFailure.
    """

    def __init__(
        self,
        circuits: Circuits,
        providers: Callable[[], Sequence[Provider]],
        canary: Callable[[Provider, str], None],
        is_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_on = is_on
        self._circuits = circuits
        self._providers = providers
        self._canary = canary
        self.periodic = greenlets.Periodic("llm-prober", self.probe_due, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def probe_due(self) -> None:
        """Starts the probes that are due, without waiting for them."""
        providers = [each for each in self._providers() if each.enabled]
        self._circuits.keep_only(providers)
        if not self._is_on():
            return
        for provider in providers:
            for model in provider.models:
                breaker = self._circuits.circuit_for(provider, model)
                lease = breaker.lease(provider.total_secs + _LEASE_SLACK_SECS) if breaker.is_due else None
                if lease is not None:
                    greenlets.spawn(f"llm-probe-{provider.id}", self._probe, breaker, lease, provider, model)

    def _probe(self, breaker: Breaker, lease: str, provider: Provider, model: str) -> None:
        outcome: ProviderFailure | None = None
        try:
            self._canary(provider, model)
        except ProviderFailure as failure:
            outcome = failure
        breaker.probe_ended(lease, outcome)
