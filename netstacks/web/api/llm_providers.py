"""Administration of the language model providers: the list, its order, a test of each, and the switch for AI.

A base URL may name any server that this controller can reach, internal ones too: hence the permission `llm.manage`.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, cast
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks import urls
from netstacks.cluster.circuits import MAX_OPEN_SECS
from netstacks.errors import InvalidInput, StoreUnavailable
from netstacks.llm.breaker import Breaker
from netstacks.llm.directory import Directory
from netstacks.llm.provider import ProviderType
from netstacks.llm.provider_entry import Key, NewProvider, ProviderFacts, base_url_of
from netstacks.store import audit, llm_providers, llm_usage, roles, setting_changes, system_settings
from netstacks.store.llm_providers import StoredProvider
from netstacks.store.llm_usage import Usage
from netstacks.store.pool import Transaction
from netstacks.store.setting_definitions import AI
from netstacks.store.setting_types import Feature
from netstacks.web.api.llm_provider_json import LlmProviderJson, LlmProviders, as_json
from netstacks.web.api.provider_check import ProviderTrial, check_provider
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Seen, SeenVersion

blueprint = Blueprint("llm_providers", __name__)

_PATH = "/api/v1/llm/providers"
_NOTHING = Usage(0, 0, 0, 0)


class ProviderChange(ProviderFacts):
    """The changeable members of a provider; absent ones keep their value.

    An empty key keeps the stored one, so that a form can leave the field empty; null removes it.
    """

    type: ProviderType | None = None
    key: Key | None = ""
    version: Seen = None

    def facts(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"key", "type", "version"})


class Order(BaseModel):
    """The ids of all providers, in the order in which they are tried."""

    ids: list[UUID]


class Trial(BaseModel):
    """The model to test; the provider's default model when absent."""

    model: str | None = None


class Trip(BaseModel):
    """A circuit opened by an administrator: for how many seconds, and why."""

    secs: Annotated[float, Field(ge=1, le=MAX_OPEN_SECS)] = 300
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""


class Switch(BaseModel):
    enabled: bool
    disabled_roles: list[str] = Field(default_factory=list, max_length=100)
    version: Seen = None


class AiSettings(TypedDict):
    enabled: bool
    disabled_roles: list[str]
    """The roles whose users may not ask language models."""
    version: int
    """Goes up with each change. A change that sends an older one is refused."""


@blueprint.get(_PATH)
@guard.requires("llm.manage")
def list_providers() -> LlmProviders:
    with services().database.transaction() as tx:
        return _as_list(tx, llm_providers.list_all(tx))


@blueprint.post(_PATH)
@guard.requires("llm.manage")
@takes_body(NewProvider)
@answers(201)
def create_provider(body: NewProvider) -> tuple[LlmProviderJson, int]:
    with guard.transaction() as tx:
        key, by = body.key or None, guard.identity().username
        provider = llm_providers.create(tx, services().vault, body.facts(), key=key, by=by)
        _audit(tx, "created", provider, type=provider.type, base_url=provider.base_url, has_key=provider.has_key)
    _refresh()
    return as_json(provider, _NOTHING), 201


@blueprint.get(f"{_PATH}/<uuid:provider_id>")
@guard.requires("llm.manage")
def get_provider(provider_id: UUID) -> LlmProviderJson:
    with services().database.transaction() as tx:
        provider = llm_providers.find(tx, provider_id)
        return as_json(provider, llm_usage.today_by_provider(tx).get(provider_id, _NOTHING))


@blueprint.put(f"{_PATH}/<uuid:provider_id>")
@guard.requires("llm.manage")
@takes_body(ProviderChange)
def update_provider(body: ProviderChange, provider_id: UUID) -> LlmProviderJson:
    with guard.transaction() as tx:
        old = llm_providers.lock(tx, provider_id)
        facts = _checked(old, body)
        key = "" if body.key is None else body.key or None
        by = guard.identity().username
        provider = llm_providers.update(tx, services().vault, old, facts, key=key, by=by, seen=body.version)
        _audit(tx, "updated", provider, changes=changes(old, provider), key_replaced=bool(key))
        used = llm_usage.today_by_provider(tx).get(provider_id, _NOTHING)
    _refresh()
    return as_json(provider, used)


@blueprint.delete(f"{_PATH}/<uuid:provider_id>")
@guard.requires("llm.manage")
@takes_query(SeenVersion)
@answers(204)
def delete_provider(seen: SeenVersion, provider_id: UUID) -> Response:
    with guard.transaction() as tx:
        provider = llm_providers.lock(tx, provider_id)
        llm_providers.delete(tx, provider, seen=seen.version)
        _audit(tx, "deleted", provider)
    services().llm.circuits.forget(provider_id)
    _refresh()
    return Response(status=204)


@blueprint.put(f"{_PATH}/order")
@guard.requires("llm.manage")
@takes_body(Order)
def put_order(body: Order) -> LlmProviders:
    ids = body.ids
    with guard.transaction() as tx:
        ordered = llm_providers.reorder(tx, ids, by=guard.identity().username)
        names = [provider.name for provider in ordered]
        audit.append(tx, guard.actor(), "llm_provider.reordered", "llm_providers", order=names)
        answer = _as_list(tx, ordered)
    _refresh()
    return answer


@blueprint.post(f"{_PATH}/<uuid:provider_id>/test")
@guard.requires("llm.manage")
@takes_body(Trial)
def try_provider(body: Trial, provider_id: UUID) -> ProviderTrial:
    """Tests a provider with one cheap call and its stored settings, even when it is disabled."""
    model = body.model
    with guard.transaction() as tx:
        entry = llm_providers.find(tx, provider_id)
    if model is not None and model not in entry.models:
        raise InvalidInput("model: must be one of this provider's models")
    outcome = check_provider(services().llm, provider_id, model)
    with guard.transaction() as tx:
        _audit(tx, "tested", entry, model=outcome["model"], ok=outcome["ok"])
    return outcome


@blueprint.post(f"{_PATH}/<uuid:provider_id>/trip")
@guard.requires("llm.manage")
@takes_body(Trip)
def trip(body: Trip, provider_id: UUID) -> LlmProviderJson:
    """Opens the circuits of a provider, for all its models, on every instance: no calls go to it for a while."""
    by = guard.identity().username
    reason = f"opened by {by}: {body.reason}" if body.reason else f"opened by {by}"
    return _decide(provider_id, "tripped", lambda breaker: breaker.trip(body.secs, reason), secs=body.secs)


@blueprint.post(f"{_PATH}/<uuid:provider_id>/reset")
@guard.requires("llm.manage")
def reset(provider_id: UUID) -> LlmProviderJson:
    """Closes the circuits of a provider, for all its models, on every instance: calls go to it at once."""
    return _decide(provider_id, "reset", lambda breaker: breaker.reset())


def _decide(provider_id: UUID, event: str, decide: Callable[[Breaker], None], **details: Any) -> LlmProviderJson:
    """Applies an administrator's decision to the circuits of a provider."""
    llm = services().llm
    llm.directory.refresh()
    provider = llm.directory.provider(provider_id)
    with guard.transaction() as tx:
        entry = llm_providers.find(tx, provider_id)
        _audit(tx, event, entry, **details)
        used = llm_usage.today_by_provider(tx).get(provider_id, _NOTHING)
    for model in provider.models:
        decide(llm.circuits.circuit_for(provider, model))
    return as_json(entry, used)


@blueprint.get("/api/v1/llm/settings")
@guard.requires("llm.manage")
def get_settings() -> AiSettings:
    with services().database.transaction() as tx:
        return _settings_as_json(tx, system_settings.get(tx, AI))


@blueprint.put("/api/v1/llm/settings")
@guard.requires("llm.manage")
@takes_body(Switch)
def put_settings(body: Switch) -> AiSettings:
    """Switches AI on or off: for all users by `enabled`, for users of some roles by `disabled_roles`."""
    new = Feature(body.enabled, sorted(set(body.disabled_roles)))
    with guard.transaction() as tx:
        roles.check_known(tx, new.disabled_roles)
        old = system_settings.get(tx, AI)
        system_settings.put(tx, AI, new, guard.identity().username, seen=body.version)
        audit.append(tx, guard.actor(), "llm_settings.updated", "llm_settings", changes=changes(old, new))
        answer = _settings_as_json(tx, new)
    _refresh()
    return answer


def _settings_as_json(tx: Transaction, switch: Feature) -> AiSettings:
    version = setting_changes.version(tx, AI.key)
    return {"enabled": switch.enabled, "disabled_roles": switch.disabled_roles, "version": version}


def _as_list(tx: Transaction, providers: list[StoredProvider]) -> LlmProviders:
    used = llm_usage.today_by_provider(tx)
    return {"items": [as_json(provider, used.get(provider.id, _NOTHING)) for provider in providers]}


def _checked(old: StoredProvider, body: ProviderChange) -> dict[str, Any]:
    """The changed members. Raises InvalidInput where a stored key would go to a server that it was not stored for."""
    if body.type is not None and body.type != old.type:
        raise InvalidInput("type: cannot be changed, add another provider instead")
    facts = body.facts()
    if "base_url" in facts:
        facts["base_url"] = base_url_of(cast(ProviderType, old.type), body.base_url)
        if old.has_key and body.key == "" and _server(facts["base_url"]) != _server(old.base_url):
            raise InvalidInput("key: send it again with the new base URL, the stored one is for another server")
    return facts


def _server(base_url: str) -> tuple[str, str, int | None]:
    url = urls.parse(base_url, ("http", "https"), "https://llm.example.net/v1", ())
    [(host, port)] = url.hosts
    return url.scheme, host.lower(), port or urls.DEFAULT_PORTS[url.scheme]


def _refresh() -> None:
    """Applies a change to this instance at once; the others read it within a heartbeat."""
    with suppress(StoreUnavailable):
        _directory().refresh()


def _directory() -> Directory:
    return services().llm.directory


def _audit(tx: Transaction, event: str, provider: StoredProvider, **details: Any) -> None:
    audit.append(
        tx, guard.actor(), f"llm_provider.{event}", f"llm_provider:{provider.id}", name=provider.name, **details
    )
