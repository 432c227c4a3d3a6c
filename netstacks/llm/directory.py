"""This instance's copy of the administrator's list of providers, with one client for each."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, cast, get_args
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import InvalidInput, NotFound, StoreUnavailable
from netstacks.llm.conversation import ChatRequest, Piece, Usage
from netstacks.llm.provider import Provider, ProviderType
from netstacks.llm.provider_entry import check_base_url
from netstacks.store import llm_providers, system_settings
from netstacks.store.llm_providers import KeyedProvider
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AI
from netstacks.store.setting_types import Feature
from netstacks.store.vault import Vault

log = structlog.get_logger()


@dataclass(frozen=True)
class Defaults:
    """The times, in seconds, of entries that name none."""

    first_token_secs: float
    total_secs: float
    connect_secs: float = 5.0


class Client(Protocol):
    """The client of a provider."""

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        """The pieces of the answer; closing the generator cancels the call. Raises ProviderFailure."""

    def canary(self, model: str) -> Usage:
        """Makes a request for one token and returns its usage. Raises ProviderFailure."""

    def close(self) -> None:
        """Closes idle connections and keeps none from now on. Running and later calls still work."""


class Directory:
    """Reads a changed list at most `interval_secs` later; lookups do no I/O.

    While the database is unreachable, the last list remains in force.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        defaults: Defaults,
        make_client: Callable[[Provider], Client],
        *,
        interval_secs: float,
    ) -> None:
        self._database = database
        self._vault = vault
        self._defaults = defaults
        self._make_client = make_client
        self._switch = Feature()
        self._revision: int | None = None
        self._providers: dict[UUID, Provider] = {}
        """All usable providers, including disabled ones, in their order."""
        self._problems: dict[UUID, str] = {}
        self._clients: dict[tuple[UUID, int], Client] = {}
        self._refresh = greenlets.SingleFlight("llm-directory-read", self._read)
        self.periodic = greenlets.Periodic("llm-directory", self._look, interval_secs)

    def start(self) -> None:
        self.periodic.start()

    def refresh(self) -> None:
        """Reads the list if it has changed. Raises StoreUnavailable."""
        self._refresh()

    def providers(self) -> list[Provider]:
        """The enabled and usable providers, in the administrator's order."""
        return [provider for provider in self._providers.values() if provider.enabled]

    def configured(self) -> list[Provider]:
        """The usable providers, including disabled ones, in order."""
        return list(self._providers.values())

    def provider(self, provider_id: UUID) -> Provider:
        """A provider, enabled or not. Raises NotFound, also when its entry is unusable."""
        if provider_id not in self._providers:
            raise NotFound("there is no such provider, or its entry cannot be used")
        return self._providers[provider_id]

    def problem(self, provider_id: UUID) -> str | None:
        """Why an entry is unusable, None if it is usable."""
        return self._problems.get(provider_id)

    def client(self, provider: Provider) -> Client:
        """The client of this revision of the entry: created at its first use, closed after a change of the entry."""
        key = (provider.id, provider.revision)
        if key not in self._clients:
            # No yield until the client is stored: two greenlets would create two clients, and never close one of them.
            client = self._make_client(provider)
            if not self._is_current(key):
                # The caller uses a list that has been replaced meanwhile.
                client.close()
                return client
            self._clients[key] = client
        return self._clients[key]

    @property
    def is_on(self) -> bool:
        """Whether AI is switched on for any role."""
        return self._switch.enabled

    def may_use(self, role: str) -> bool:
        """Whether AI is switched on for users of `role`."""
        return self._switch.may_use(role)

    def _look(self) -> None:
        try:
            self.refresh()
        except StoreUnavailable as error:
            log.debug("llm.directory_waits", error=str(error))

    def _read(self) -> None:
        with self._database.transaction() as tx:
            self._switch = system_settings.get(tx, AI)
            revision = llm_providers.newest_revision(tx)
            # A key may become readable without a change of its entry, for example after a key rotation.
            if revision == self._revision and not self._problems:
                return
            entries = llm_providers.with_keys(tx, self._vault)
        self._take(entries)
        self._revision = revision

    def _take(self, entries: list[KeyedProvider]) -> None:
        problems = {each.entry.id: problem for each in entries if (problem := _problem(each))}
        for each in entries:
            if (problem := problems.get(each.entry.id)) and problem != self._problems.get(each.entry.id):
                log.error("llm.provider_unusable", provider=each.entry.name, problem=problem)
        self._problems = problems
        self._providers = {each.entry.id: self._provider(each) for each in entries if each.entry.id not in problems}
        for key in [key for key in self._clients if not self._is_current(key)]:
            self._clients.pop(key).close()

    def _is_current(self, key: tuple[UUID, int]) -> bool:
        provider = self._providers.get(key[0])
        return provider is not None and provider.revision == key[1]

    def _provider(self, keyed: KeyedProvider) -> Provider:
        entry = keyed.entry
        return Provider(
            id=entry.id,
            revision=entry.revision,
            name=entry.name,
            type=cast(ProviderType, entry.type),
            base_url=entry.base_url,
            models=tuple(entry.models),
            key=keyed.key,
            position=entry.position,
            enabled=entry.enabled,
            connect_secs=entry.connect_secs or self._defaults.connect_secs,
            first_token_secs=entry.first_token_secs or self._defaults.first_token_secs,
            total_secs=entry.total_secs or self._defaults.total_secs,
            max_concurrent=entry.max_concurrent,
            daily_tokens=entry.daily_tokens,
        )


def _problem(keyed: KeyedProvider) -> str | None:
    if keyed.entry.type not in get_args(ProviderType):
        return f"this version of the controller does not know the type {keyed.entry.type}"
    entry = keyed.entry
    try:
        check_base_url(entry.base_url)
    except InvalidInput as error:
        return f"its base_url {error}"
    if not all(isinstance(model, str) and model for model in entry.models):
        return "its models are not all names"
    if not all(math.isfinite(secs or 0) for secs in (entry.connect_secs, entry.first_token_secs, entry.total_secs)):
        return "its times are not all numbers of seconds"
    return keyed.problem
