"""The identity providers of single sign-on, and their mappings of groups to roles. Client secrets lie in the vault."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.errors import Conflict, NotFound
from netstacks.store import versions
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.vault import Vault

_SQL = load("identity_providers")

_FIELD = "client_secret"


@dataclass(frozen=True)
class IdentityProvider:
    """One provider, without its client secret. Its claims are names, or paths such as `realm_access.roles`.

    `origins` are the addresses of this controller, such as `https://netstacks.example`, that users may come back to
    from the provider. `default_role` is the role of users without a mapped group, None to refuse them. `version`
    changes with every change of the provider or its mappings.
    """

    id: UUID
    name: str
    issuer: str
    client_id: str
    scopes: str
    username_claim: str
    email_claim: str
    groups_claim: str
    origins: list[str]
    default_role: str | None
    enabled: bool
    position: int
    version: int
    updated_at: datetime
    updated_by: str
    has_secret: bool


@dataclass(frozen=True)
class GroupMapping:
    """The role of users who have a group. The first mapping in order that applies is used."""

    id: UUID
    group_name: str
    role: str


def create(tx: Transaction, vault: Vault, facts: Mapping[str, Any], *, secret: str | None, by: str) -> IdentityProvider:
    """Appends a provider. `facts` are the members that an administrator sets.

    Raises Conflict when the name is taken, VaultLocked.
    """
    tx.execute(_SQL["lock_list"])
    provider_id = uuid4()
    _check_name(tx, provider_id, facts["name"])
    tx.execute(_SQL["create"], {**facts, "id": provider_id, "updated_by": by})
    if secret:
        vault.seal(tx, provider_id, _FIELD, secret)
    return find(tx, provider_id)


def update(
    tx: Transaction, vault: Vault, old: IdentityProvider, facts: Mapping[str, Any], *, secret: str | None, by: str
) -> IdentityProvider:
    """Changes the members named in `facts` of a locked provider; a secret of None is kept, an empty one is removed.

    Raises Conflict when the name is taken, VaultLocked.
    """
    new = replace(old, **facts)
    _check_name(tx, old.id, new.name)
    tx.execute(_SQL["update"], {**asdict(new), "updated_by": by})
    if secret:
        vault.seal(tx, old.id, _FIELD, secret)
    elif secret is not None:
        vault.remove(tx, old.id, _FIELD)
    return find(tx, old.id)


def delete(tx: Transaction, provider_id: UUID) -> None:
    """Removes a provider with its secret, its mappings and its identities. The users whom it has created remain."""
    tx.execute(_SQL["delete"], {"id": provider_id})


def reorder(tx: Transaction, ids: Sequence[UUID]) -> list[IdentityProvider]:
    """Sets the order of the providers. Raises Conflict unless `ids` names each of them once."""
    tx.execute(_SQL["lock_list"])
    if sorted(ids) != sorted(provider.id for provider in list_all(tx)):
        raise Conflict("the order must name every provider once, and the list may have changed: reload it")
    for position, provider_id in enumerate(ids, 1):
        tx.execute(_SQL["move"], {"id": provider_id, "position": position})
    return list_all(tx)


def list_all(tx: Transaction) -> list[IdentityProvider]:
    """All providers in order."""
    with tx.cursor(row_factory=row_of(IdentityProvider)) as cursor:
        return cursor.execute(_SQL["all"]).fetchall()


def find(tx: Transaction, provider_id: UUID) -> IdentityProvider:
    """Raises NotFound."""
    with tx.cursor(row_factory=row_of(IdentityProvider)) as cursor:
        provider = cursor.execute(_SQL["find"], {"id": provider_id}).fetchone()
    if provider is None:
        raise NotFound("there is no such identity provider")
    return provider


def lock(tx: Transaction, provider_id: UUID, version: int | None = None) -> IdentityProvider:
    """The provider, with all providers locked against changes until the transaction ends.

    Raises NotFound, and Conflict when it no longer has the given version.
    """
    tx.execute(_SQL["lock_list"])
    provider = find(tx, provider_id)
    versions.check(f"the provider {provider.name}", provider.version, provider.updated_by, seen=version)
    return provider


def secret_of(tx: Transaction, vault: Vault, provider: IdentityProvider) -> str | None:
    """The client secret; None for a public client. Raises VaultLocked."""
    return vault.open(tx, provider.id, _FIELD) if provider.has_secret else None


def mappings_of(tx: Transaction, provider_id: UUID) -> list[GroupMapping]:
    """The mappings in order."""
    with tx.cursor(row_factory=row_of(GroupMapping)) as cursor:
        return cursor.execute(_SQL["mappings"], {"provider_id": provider_id}).fetchall()


def add_mapping(tx: Transaction, provider: IdentityProvider, group_name: str, role: str, *, by: str) -> None:
    """Appends a mapping of a locked provider. Raises Conflict when the group has one already."""
    values = {"id": uuid4(), "provider_id": provider.id, "group_name": group_name, "role": role}
    if not tx.execute(_SQL["add_mapping"], values).rowcount:
        raise Conflict(f"group: {group_name!r} has a role already, remove that mapping first")
    _touch(tx, provider.id, by)


def remove_mapping(tx: Transaction, provider: IdentityProvider, mapping_id: UUID, *, by: str) -> GroupMapping:
    """Removes a mapping of a locked provider, and returns it. Raises NotFound."""
    with tx.cursor(row_factory=row_of(GroupMapping)) as cursor:
        values = {"id": mapping_id, "provider_id": provider.id}
        removed = cursor.execute(_SQL["remove_mapping"], values).fetchone()
    if removed is None:
        raise NotFound("there is no such mapping")
    _touch(tx, provider.id, by)
    return removed


def reorder_mappings(tx: Transaction, provider: IdentityProvider, ids: Sequence[UUID], *, by: str) -> None:
    """Sets the order of the mappings of a locked provider. Raises Conflict unless `ids` names each of them once."""
    if sorted(ids) != sorted(each.id for each in mappings_of(tx, provider.id)):
        raise Conflict("the order must name every mapping once, and the list may have changed: reload it")
    for position, mapping_id in enumerate(ids, 1):
        tx.execute(_SQL["move_mapping"], {"id": mapping_id, "provider_id": provider.id, "position": position})
    _touch(tx, provider.id, by)


def _touch(tx: Transaction, provider_id: UUID, by: str) -> None:
    tx.execute(_SQL["touch"], {"id": provider_id, "by": by})


def _check_name(tx: Transaction, provider_id: UUID, name: str) -> None:
    if tx.execute(_SQL["namesake"], {"id": provider_id, "name": name}).fetchone() is not None:
        raise Conflict(f"name: another provider is already called {name!r}")
