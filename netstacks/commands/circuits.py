"""The circuits of AI providers for commands: the registry has the circuits, PostgreSQL the providers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netstacks.cluster.circuits import Circuit, CircuitState
from netstacks.store.llm_providers import StoredProvider


@dataclass(frozen=True)
class ModelState:
    """A model's circuit; `open_until` is by the registry's clock in seconds since 1970, None unless it has opened."""

    model: str
    state: CircuitState
    reason: str | None
    open_until: float | None


@dataclass(frozen=True)
class ProviderState:
    """A provider with its models. `name` and `type` are None while PostgreSQL cannot be read."""

    id: str
    name: str | None
    type: str | None
    models: tuple[ModelState, ...]

    @property
    def title(self) -> str:
        return self.name or self.id


def states(providers: Sequence[StoredProvider] | None, circuits: Mapping[str, Circuit]) -> list[ProviderState]:
    """The circuits of these providers in their order; of all that have a circuit when the providers are not known."""
    if providers is None:
        ids = dict.fromkeys(name.partition("/")[0] for name in sorted(circuits))
        return [ProviderState(id, None, None, tuple(_of(id, _models(id, circuits), circuits))) for id in ids]
    return [
        ProviderState(str(each.id), each.name, each.type, tuple(_of(str(each.id), each.models, circuits)))
        for each in providers
    ]


def _models(provider_id: str, circuits: Mapping[str, Circuit]) -> list[str]:
    # The name of a model may have a slash.
    prefix = f"{provider_id}/"
    return sorted(name.removeprefix(prefix) for name in circuits if name.startswith(prefix))


def _of(provider_id: str, models: Sequence[str], circuits: Mapping[str, Circuit]) -> Iterator[ModelState]:
    for model in models:
        circuit = circuits.get(f"{provider_id}/{model}", Circuit())
        yield ModelState(model, circuit.state, circuit.reason or None, circuit.open_until or None)
