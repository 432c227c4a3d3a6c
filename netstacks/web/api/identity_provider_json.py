"""An identity provider in the API, as administrators see it."""

from typing_extensions import TypedDict

from netstacks.formats import Timestamp, Uuid
from netstacks.store import identity_providers
from netstacks.store.identity_providers import IdentityProvider
from netstacks.store.pool import Transaction
from netstacks.web.api.sso import redirect_uri
from netstacks.web.http.outputs import timestamp


class MappingJson(TypedDict):
    """The role of users with a group."""

    id: Uuid
    group: str
    role: str


class IdentityProviderJson(TypedDict):
    """A provider without its secret."""

    id: Uuid
    name: str
    issuer: str
    client_id: str
    has_secret: bool
    scopes: str
    """Names with spaces between them."""
    username_claim: str
    email_claim: str
    groups_claim: str
    origins: list[str]
    """The addresses of this controller that users may come back to."""
    redirect_uris: list[str]
    logout_uris: list[str]
    default_role: str | None
    """The role of users without a mapped group; null refuses them."""
    enabled: bool
    position: int
    version: int
    """It changes with every change of the provider or its mappings."""
    updated_at: Timestamp
    updated_by: str
    mappings: list[MappingJson]


class IdentityProviders(TypedDict):
    items: list[IdentityProviderJson]
    roles: list[str]
    """Those that can be given."""


class ProviderTest(TypedDict):
    ok: bool
    text: str
    """What came, in words."""


def as_json(tx: Transaction, provider: IdentityProvider) -> IdentityProviderJson:
    """A provider with its mappings, without its secret."""
    mappings = identity_providers.mappings_of(tx, provider.id)
    return {
        "id": str(provider.id),
        "name": provider.name,
        "issuer": provider.issuer,
        "client_id": provider.client_id,
        "has_secret": provider.has_secret,
        "scopes": provider.scopes,
        "username_claim": provider.username_claim,
        "email_claim": provider.email_claim,
        "groups_claim": provider.groups_claim,
        "origins": provider.origins,
        "redirect_uris": [redirect_uri(provider, origin) for origin in provider.origins],
        "logout_uris": [f"{origin}/login" for origin in provider.origins],
        "default_role": provider.default_role,
        "enabled": provider.enabled,
        "position": provider.position,
        "version": provider.version,
        "updated_at": timestamp(provider.updated_at),
        "updated_by": provider.updated_by,
        "mappings": [{"id": str(each.id), "group": each.group_name, "role": each.role} for each in mappings],
    }
