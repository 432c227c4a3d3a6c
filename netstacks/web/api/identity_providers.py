"""Administration of single sign-on: identity providers, the roles of their groups, and a test of each.

A user who may change a provider decides which persons log in as which users. So each change requires all permissions
of the roles that the provider gives and of the users who have an identity of it, beside `sso.manage`. An issuer may be
any server that this controller can reach, internal ones too.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import BaseModel, Field, StringConstraints

from netstacks.errors import InvalidInput
from netstacks.store import access, audit, external_identities, identity_providers, roles, users
from netstacks.store.identity_providers import IdentityProvider
from netstacks.store.pool import Transaction
from netstacks.urls import Origin
from netstacks.web.api.identity_provider_fields import Change, Facts
from netstacks.web.api.identity_provider_json import IdentityProviderJson, IdentityProviders, ProviderTest, as_json
from netstacks.web.auth import guard, origins
from netstacks.web.auth.oidc_errors import ProviderUnavailable
from netstacks.web.auth.parts import auth_parts
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import SeenVersion

blueprint = Blueprint("identity_providers", __name__)

PATH = "/api/v1/identity-providers"


class Order(BaseModel):
    """All ids, in the new order."""

    ids: Annotated[list[UUID], Field(max_length=10_000)]


class NewMapping(BaseModel):
    """The role of users with a group. The group is compared with the texts in the claim, letter by letter."""

    group: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    role: str


@blueprint.get(PATH)
@guard.requires("sso.manage")
def list_identity_providers() -> IdentityProviders:
    with services().database.transaction() as tx:
        return _as_list(tx)


@blueprint.post(PATH)
@guard.requires("sso.manage")
@takes_body(Facts)
@answers(201)
def create_identity_provider(body: Facts) -> tuple[IdentityProviderJson, int]:
    with administration() as tx:
        _check_role(tx, body.default_role)
        secret, by = body.client_secret, guard.identity().username
        facts = {"origins": [_own_origin()], **body.facts()}
        provider = identity_providers.create(tx, services().vault, facts, secret=secret, by=by)
        note(tx, "created", provider, issuer=provider.issuer, client_id=provider.client_id, origins=provider.origins)
        return as_json(tx, provider), 201


@blueprint.get(f"{PATH}/<uuid:provider_id>")
@guard.requires("sso.manage")
def get_identity_provider(provider_id: UUID) -> IdentityProviderJson:
    with services().database.transaction() as tx:
        return as_json(tx, identity_providers.find(tx, provider_id))


@blueprint.put(f"{PATH}/<uuid:provider_id>")
@guard.requires("sso.manage")
@takes_body(Change)
def update_identity_provider(body: Change, provider_id: UUID) -> IdentityProviderJson:
    with administration() as tx:
        old = identity_providers.lock(tx, provider_id, body.version)
        check_gives(tx, old)
        _check_role(tx, body.default_role)
        if old.has_secret and body.client_secret == "" and body.issuer != old.issuer:
            raise InvalidInput("client_secret: enter it again, the stored one is for another issuer")
        secret = "" if body.client_secret is None else body.client_secret or None
        by = guard.identity().username
        provider = identity_providers.update(tx, services().vault, old, body.facts(), secret=secret, by=by)
        users.require_an_administrator(tx)
        note(tx, "updated", provider, changes=changes(old, provider), secret_replaced=bool(secret))
        return as_json(tx, provider)


@blueprint.delete(f"{PATH}/<uuid:provider_id>")
@guard.requires("sso.manage")
@takes_query(SeenVersion)
@answers(204)
def delete_identity_provider(seen: SeenVersion, provider_id: UUID) -> Response:
    with administration() as tx:
        provider = identity_providers.lock(tx, provider_id, seen.version)
        check_gives(tx, provider)
        identity_providers.delete(tx, provider_id)
        users.require_an_administrator(tx)
        note(tx, "deleted", provider, issuer=provider.issuer)
    return Response(status=204)


@blueprint.put(f"{PATH}/order")
@guard.requires("sso.manage")
@takes_body(Order)
def put_identity_provider_order(body: Order) -> IdentityProviders:
    ids = body.ids
    with administration() as tx:
        before = identity_providers.list_all(tx)
        after = identity_providers.reorder(tx, ids)
        for old, new in zip(before, after, strict=True):
            if old.id != new.id:
                check_gives(tx, new)
        names = [provider.name for provider in after]
        audit.append(tx, guard.actor(), "identity_provider.reordered", "identity_providers", order=names)
        return _as_list(tx)


@blueprint.post(f"{PATH}/<uuid:provider_id>/test")
@guard.requires("sso.manage")
def try_identity_provider(provider_id: UUID) -> ProviderTest:
    """Reads the discovery document and the keys now, and says in words what came."""
    with guard.transaction() as tx:
        provider = identity_providers.find(tx, provider_id)
    began_at = time.monotonic()
    try:
        metadata = auth_parts().oidc.metadata(provider, anew=True)
        keys = len(auth_parts().oidc.keys(provider, anew=True))
    except ProviderUnavailable as error:
        outcome: ProviderTest = {"ok": False, "text": str(error)}
    else:
        ends = "It can log users out." if metadata.end_session_endpoint else "It has no page that logs users out."
        found = "1 key" if keys == 1 else f"{keys} keys"
        outcome = {
            "ok": True,
            "text": f"{provider.name} answered in {time.monotonic() - began_at:.1f} s, with {found} for signatures."
            f" {ends} Whether it accepts the client secret, only a log-in shows.",
        }
    with guard.transaction() as tx:
        note(tx, "tested", provider, ok=outcome["ok"])
    return outcome


@blueprint.post(f"{PATH}/<uuid:provider_id>/mappings")
@guard.requires("sso.manage")
@takes_body(NewMapping)
@answers(201)
def create_group_mapping(body: NewMapping, provider_id: UUID) -> tuple[IdentityProviderJson, int]:
    with administration() as tx:
        provider = identity_providers.lock(tx, provider_id)
        check_gives(tx, provider)
        _check_role(tx, body.role)
        by = guard.identity().username
        identity_providers.add_mapping(tx, provider, body.group, body.role, by=by)
        note(tx, "mapping_added", provider, group=body.group, role=body.role)
        return as_json(tx, identity_providers.find(tx, provider_id)), 201


@blueprint.delete(f"{PATH}/<uuid:provider_id>/mappings/<uuid:mapping_id>")
@guard.requires("sso.manage")
@answers(204)
def delete_group_mapping(provider_id: UUID, mapping_id: UUID) -> Response:
    with administration() as tx:
        provider = identity_providers.lock(tx, provider_id)
        check_gives(tx, provider)
        removed = identity_providers.remove_mapping(tx, provider, mapping_id, by=guard.identity().username)
        note(tx, "mapping_removed", provider, group=removed.group_name, role=removed.role)
    return Response(status=204)


@blueprint.put(f"{PATH}/<uuid:provider_id>/mappings/order")
@guard.requires("sso.manage")
@takes_body(Order)
def put_group_mapping_order(body: Order, provider_id: UUID) -> IdentityProviderJson:
    ids = body.ids
    with administration() as tx:
        provider = identity_providers.lock(tx, provider_id)
        check_gives(tx, provider)
        identity_providers.reorder_mappings(tx, provider, ids, by=guard.identity().username)
        order = [each.group_name for each in identity_providers.mappings_of(tx, provider_id)]
        note(tx, "mappings_reordered", provider, order=order)
        return as_json(tx, identity_providers.find(tx, provider_id))


def note(tx: Transaction, event: str, provider: IdentityProvider, **details: Any) -> None:
    """Writes the audit row of a change."""
    resource = f"identity_provider:{provider.id}"
    audit.append(tx, guard.actor(), f"identity_provider.{event}", resource, name=provider.name, **details)


@contextmanager
def administration() -> Iterator[Transaction]:
    """A transaction that changes providers: serialised with all that change users, whose roles it depends on."""
    with services().database.transaction() as tx:
        access.lock_administration(tx)
        guard.confirm(tx)
        yield tx


def check_gives(tx: Transaction, provider: IdentityProvider) -> None:
    """Raises Forbidden unless the user of this request has all that the roles of this provider and its users permit.

    A linked user may have a role that the provider does not give.
    """
    given = {each.role for each in identity_providers.mappings_of(tx, provider.id)} | {provider.default_role}
    given |= set(external_identities.roles_of(tx, provider.id))
    for name in sorted(filter(None, given)):
        guard.check_gives(roles.role_named(tx, name))


def _check_role(tx: Transaction, name: str | None) -> None:
    """Raises InvalidInput for an unknown role, Forbidden for one that permits more than the user's own."""
    if name is not None:
        roles.check_known(tx, [name])
        guard.check_gives(roles.role_named(tx, name))


def _as_list(tx: Transaction) -> IdentityProviders:
    """The providers, and the roles that can be given."""
    return {
        "items": [as_json(tx, provider) for provider in identity_providers.list_all(tx)],
        "roles": [role.name for role in roles.list_all(tx)],
    }


def _own_origin() -> str:
    """The origin of the administrator's page; the address of this request when a program sends it."""
    page = request.headers.get("Origin") if origins.problem() is None else None
    return str(Origin.parse(page or f"{request.scheme}://{request.host}"))
