"""Checks of the AI providers, by their circuits in the registry."""

from netstacks.commands import circuits
from netstacks.commands.examine.findings import Finding, Findings
from netstacks.commands.printing import clock
from netstacks.errors import StoreUnavailable
from netstacks.registry.base import Registry
from netstacks.store import llm_providers
from netstacks.store.llm_providers import StoredProvider
from netstacks.store.pool import Database

_WHY = "no instance asks it; the assistant uses the next provider of the list, and without one it answers with an error"
_DO = "correct what the reason names, such as the key or the address of the provider; it is tried again by itself"


def examine_circuits(database: Database, registry: Registry) -> Findings:
    """Findings about the circuits that are not closed."""
    _, stored = registry.circuits()
    for provider in circuits.states(_enabled(database), stored):
        for each in provider.models:
            if each.state != "closed":
                until = f" until {clock(each.open_until)}" if each.state == "open" and each.open_until else ""
                what = f"the circuit of {each.model} at {provider.title} is {each.state}{until}: {each.reason}"
                yield Finding("AI providers", "warning", what, _WHY, _DO)


def _enabled(database: Database) -> list[StoredProvider] | None:
    """The enabled providers; None while PostgreSQL cannot be read."""
    try:
        with database.transaction() as tx:
            return [each for each in llm_providers.list_all(tx) if each.enabled]
    except StoreUnavailable:
        return None
