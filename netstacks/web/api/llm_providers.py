"""The providers of language models for administrators: the list, its order, a test of each, and AI's own switch.

A base URL may lead anywhere that this controller can reach, into the own network too: it needs `llm.manage`.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, cast
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints

from netstacks import urls
from netstacks.cluster.circuits import MAX_OPEN_SECS
from netstacks.errors import InvalidInput, StoreUnavailable
from netstacks.llm import failures
from netstacks.llm.breaker import Breaker
from netstacks.llm.directory import Directory
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.provider import ProviderType
from netstacks.llm.provider_entry import Key, NewProvider, ProviderFacts, base_url_of
from netstacks.store import ai_switch, audit, llm_providers, llm_usage
from netstacks.store.ai_switch import AiSwitch
from netstacks.store.llm_providers import StoredProvider
from netstacks.store.llm_usage import Usage
from netstacks.store.pool import Transaction
from netstacks.store.users import Role
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.inputs import parse
from netstacks.web.http.outputs import finite, timestamp

blueprint = Blueprint("llm_providers", __name__)

_PATH = "/api/v1/llm/providers"
_NOTHING = Usage(0, 0, 0, 0)
# What a person can do about a test that failed.
_ADVICE: dict[type[ProviderFailure], str] = {
    failures.NotSent: "Check the proxy and the CA file in the environment of this instance.",
    failures.ProviderTimeout: "Try again; if the provider is just slow, give it more time.",
    failures.ProviderUnreachable: "Check the base URL, and whether this controller may go there: proxy, firewall, CA.",
    failures.RateLimited: "The provider works. Look at the limits of your account there.",
    failures.StreamCut: "Try again; a proxy on the way may cut long answers.",
    failures.ProviderBroken: "Check that the base URL belongs to an API of this type; else it is the provider's fault.",
}


class ProviderChange(ProviderFacts):
    """What may be sent of a provider; what is absent stays as it is.

    A key that is empty stays too, so that a form can leave it; null removes it.
    """

    type: ProviderType | None = None
    key: Key | None = ""

    def facts(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"key", "type"})


class Order(BaseModel):
    """All providers, the one that is tried first in front."""

    ids: list[UUID]


class Trial(BaseModel):
    """Which of the provider's models is asked: its default one, unless one is named."""

    model: str | None = None


class Trip(BaseModel):
    """For how many seconds, and why."""

    secs: Annotated[float, Field(ge=1, le=MAX_OPEN_SECS)] = 300
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""


class Switch(BaseModel):
    enabled: bool
    disabled_roles: list[Role] = Field(default_factory=list)


@blueprint.get(_PATH)
@guard.requires("llm.manage")
def list_providers() -> dict[str, Any]:
    with services().database.transaction() as tx:
        return _as_list(tx, llm_providers.every(tx))


@blueprint.post(_PATH)
@guard.requires("llm.manage")
def create_provider() -> tuple[dict[str, Any], int]:
    body = parse(NewProvider)
    with guard.transaction() as tx:
        key, by = body.key or None, guard.identity().username
        provider = llm_providers.create(tx, services().vault, body.facts(), key=key, by=by)
        _audit(tx, "created", provider, type=provider.type, base_url=provider.base_url, has_key=provider.has_key)
    _refresh()
    return as_json(provider, _NOTHING), 201


@blueprint.get(f"{_PATH}/<uuid:provider_id>")
@guard.requires("llm.manage")
def get_provider(provider_id: UUID) -> dict[str, Any]:
    with services().database.transaction() as tx:
        provider = llm_providers.find(tx, provider_id)
        return as_json(provider, llm_usage.today_by_provider(tx).get(provider_id, _NOTHING))


@blueprint.put(f"{_PATH}/<uuid:provider_id>")
@guard.requires("llm.manage")
def update_provider(provider_id: UUID) -> dict[str, Any]:
    body = parse(ProviderChange)
    with guard.transaction() as tx:
        old = llm_providers.hold(tx, provider_id)
        facts = _checked(old, body)
        key = "" if body.key is None else body.key or None
        by = guard.identity().username
        provider = llm_providers.update(tx, services().vault, old, facts, key=key, by=by)
        changed = {
            name: both for name, both in changes(old, provider).items() if name not in ("revision", "updated_by")
        }
        _audit(tx, "updated", provider, changes=changed, key_replaced=bool(key))
        used = llm_usage.today_by_provider(tx).get(provider_id, _NOTHING)
    _refresh()
    return as_json(provider, used)


@blueprint.delete(f"{_PATH}/<uuid:provider_id>")
@guard.requires("llm.manage")
def delete_provider(provider_id: UUID) -> Response:
    with guard.transaction() as tx:
        provider = llm_providers.hold(tx, provider_id)
        llm_providers.delete(tx, provider)
        _audit(tx, "deleted", provider)
    services().llm.circuits.forget(provider_id)
    _refresh()
    return Response(status=204)


@blueprint.put(f"{_PATH}/order")
@guard.requires("llm.manage")
def put_order() -> dict[str, Any]:
    ids = parse(Order).ids
    with guard.transaction() as tx:
        ordered = llm_providers.reorder(tx, ids, by=guard.identity().username)
        names = [provider.name for provider in ordered]
        audit.append(tx, guard.actor(), "llm_provider.reordered", "llm_providers", order=names)
        answer = _as_list(tx, ordered)
    _refresh()
    return answer


@blueprint.post(f"{_PATH}/<uuid:provider_id>/test")
@guard.requires("llm.manage")
def try_provider(provider_id: UUID) -> dict[str, Any]:
    """One cheap call with the stored entry, told in words; also for a provider that is disabled."""
    connect_request = parse(Trial).model
    with guard.transaction() as tx:
        entry = llm_providers.find(tx, provider_id)
    if connect_request is not None and connect_request not in entry.models:
        raise InvalidInput("model: is none of this provider's models")
    outcome = _tested(provider_id, connect_request)
    with guard.transaction() as tx:
        _audit(tx, "tested", entry, model=outcome["model"], ok=outcome["ok"])
    return outcome


@blueprint.post(f"{_PATH}/<uuid:provider_id>/trip")
@guard.requires("llm.manage")
def trip(provider_id: UUID) -> dict[str, Any]:
    """Leaves a provider alone for a while, with all its models, on every instance."""
    body = parse(Trip)
    by = guard.identity().username
    reason = f"opened by {by}: {body.reason}" if body.reason else f"opened by {by}"
    return _decided(provider_id, "tripped", lambda breaker: breaker.trip(body.secs, reason), secs=body.secs)


@blueprint.post(f"{_PATH}/<uuid:provider_id>/reset")
@guard.requires("llm.manage")
def reset(provider_id: UUID) -> dict[str, Any]:
    """Has a provider asked again at once, with all its models, on every instance."""
    return _decided(provider_id, "reset", lambda breaker: breaker.reset())


def _decided(provider_id: UUID, event: str, decide: Callable[[Breaker], None], **details: Any) -> dict[str, Any]:
    """What an administrator decides about a provider's circuits."""
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
def get_settings() -> dict[str, Any]:
    with services().database.transaction() as tx:
        return asdict(ai_switch.get(tx))


@blueprint.put("/api/v1/llm/settings")
@guard.requires("llm.manage")
def put_settings() -> dict[str, Any]:
    """Switches AI on or off: for everybody by `enabled`, for users of some roles by `disabled_roles`."""
    body = parse(Switch)
    new = AiSwitch(body.enabled, sorted(set(body.disabled_roles)))
    with guard.transaction() as tx:
        old = ai_switch.get(tx)
        ai_switch.put(tx, new)
        audit.append(tx, guard.actor(), "llm_settings.updated", "llm_settings", changes=changes(old, new))
    _refresh()
    return asdict(new)


def as_json(provider: StoredProvider, used: Usage) -> dict[str, Any]:
    """A provider as administrators see it: never with its key. `used` is what this day has brought."""
    return {
        "id": str(provider.id),
        "name": provider.name,
        "type": provider.type,
        "base_url": provider.base_url,
        "models": provider.models,
        "has_key": provider.has_key,
        "enabled": provider.enabled,
        "position": provider.position,
        "connect_secs": finite(provider.connect_secs),
        "first_token_secs": finite(provider.first_token_secs),
        "total_secs": finite(provider.total_secs),
        "max_concurrent": provider.max_concurrent,
        "daily_tokens": provider.daily_tokens,
        "updated_at": timestamp(provider.updated_at),
        "updated_by": provider.updated_by,
        "problem": _directory().problem(provider.id),
        "today": asdict(used),
        **_state_of(provider),
    }


def _as_list(tx: Transaction, providers: list[StoredProvider]) -> dict[str, Any]:
    used = llm_usage.today_by_provider(tx)
    return {"items": [as_json(provider, used.get(provider.id, _NOTHING)) for provider in providers]}


def _checked(old: StoredProvider, body: ProviderChange) -> dict[str, Any]:
    """The facts of a change. A stored key must not go to a server that it was not given for."""
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


def _tested(provider_id: UUID, model: str | None) -> dict[str, Any]:
    directory = _directory()
    directory.refresh()
    if problem := directory.problem(provider_id):
        advice = "Store its key again, or correct the settings of this controller."
        return {"ok": False, "model": model, "message": f"It cannot be used: {problem}.", "advice": advice}
    provider = directory.provider(provider_id)
    model = provider.model(model)
    began_at = time.monotonic()
    try:
        services().llm.canary(provider, model)
    except ProviderFailure as error:
        return {"ok": False, "model": model, "message": f"{provider.name} {error}.", "advice": _advice(error)}
    msecs = round((time.monotonic() - began_at) * 1000)
    return {"ok": True, "model": model, "message": f"{provider.name} answers: {model}, {msecs} ms.", "msecs": msecs}


def _advice(error: ProviderFailure) -> str:
    match error:
        case failures.ProviderRefused(status=401 | 403):
            return "Check the key, and what it may be used for."
        case failures.ProviderRefused(status=404):
            return "Check the base URL and the name of the model."
        case failures.ProviderRefused():
            return "The provider works, and refuses this request: check the name of the model."
    return next((advice for kind, advice in _ADVICE.items() if isinstance(error, kind)), "Try again.")


def _refresh() -> None:
    """This instance knows at once, the others within a heartbeat."""
    with suppress(StoreUnavailable):
        _directory().refresh()


def _directory() -> Directory:
    return services().llm.directory


def _state_of(provider: StoredProvider) -> dict[str, Any]:
    """What the calls of this instance and the circuits of the cluster say of it."""
    state = services().llm.state_of(provider.id)
    circuits = [
        {**each, "opened_at": _moment(each["opened_at"]), "next_probe_at": _moment(each["next_probe_at"])}
        for each in state["circuits"]
    ]
    return {**state, "circuits": circuits}


def _moment(secs: float | None) -> str | None:
    return timestamp(datetime.fromtimestamp(secs, UTC)) if secs else None


def _audit(tx: Transaction, event: str, provider: StoredProvider, **details: Any) -> None:
    audit.append(
        tx, guard.actor(), f"llm_provider.{event}", f"llm_provider:{provider.id}", name=provider.name, **details
    )
