"""The list of language model providers that administrators configure. Their keys leave the vault only for calls."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.errors import Conflict, NetstacksError, NotFound
from netstacks.store import audit, settings, versions
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.vault import Vault

_SQL = load("llm_providers")

REVISION_SETTING = "llm.providers"
"""The key of the setting that counts the changes of the list. It exists once the list has been filled."""

_FIELD = "provider_key"


@dataclass(frozen=True)
class StoredProvider:
    """One entry, without its key. Times are in seconds, None for the default of the settings.

    Providers are tried in the order of `position`. 0 for `max_concurrent` or `daily_tokens` means no limit. `revision`
    changes with every change of the entry or its position.
    """

    id: UUID
    name: str
    type: str
    base_url: str
    models: list[str]
    position: int
    enabled: bool
    connect_secs: float | None
    first_token_secs: float | None
    total_secs: float | None
    max_concurrent: int
    daily_tokens: int
    revision: int
    updated_at: datetime
    updated_by: str
    has_key: bool


@dataclass(frozen=True, repr=False)
class KeyedProvider:
    """An entry with its key. The key is None when there is none, or when it is unreadable: then `problem` says why."""

    entry: StoredProvider
    key: str | None = None
    problem: str | None = None


def create(tx: Transaction, vault: Vault, facts: Mapping[str, Any], *, key: str | None, by: str) -> StoredProvider:
    """Appends a provider to the list. `facts` are the members that an administrator sets.

    Raises Conflict when the name is taken, VaultLocked.
    """
    revision = _next_revision(tx)
    provider_id = uuid4()
    _check_name(tx, provider_id, facts["name"])
    tx.execute(_SQL["create"], {**facts, "id": provider_id, "revision": revision, "updated_by": by})
    if key is not None:
        vault.seal(tx, provider_id, _FIELD, key)
    return find(tx, provider_id)


def update(
    tx: Transaction,
    vault: Vault,
    old: StoredProvider,
    changes: Mapping[str, Any],
    *,
    key: str | None,
    by: str,
    seen: int | None = None,
) -> StoredProvider:
    """Changes the members named in `changes` of a locked entry; a key of None is kept, an empty key is removed.

    `seen` is the revision that the change is based on. Raises ChangedMeanwhile as `versions.check` does, Conflict when
    the name is taken, VaultLocked.
    """
    versions.check(f"the provider {old.name}", old.revision, old.updated_by, seen=seen)
    revision = _next_revision(tx)
    new = replace(old, **changes)
    _check_name(tx, old.id, new.name)
    tx.execute(_SQL["update"], {**asdict(new), "revision": revision, "updated_by": by})
    if key:
        vault.seal(tx, old.id, _FIELD, key)
    elif key is not None:
        vault.remove(tx, old.id, _FIELD)
    return find(tx, old.id)


def delete(tx: Transaction, provider: StoredProvider, *, seen: int | None = None) -> None:
    """Removes a provider and its key. Its usage rows remain. Raises ChangedMeanwhile as `versions.check` does."""
    versions.check(f"the provider {provider.name}", provider.revision, provider.updated_by, seen=seen)
    _next_revision(tx)
    tx.execute(_SQL["delete"], {"id": provider.id})


def reorder(tx: Transaction, ids: Sequence[UUID], *, by: str) -> list[StoredProvider]:
    """Sets the order of the providers. Raises Conflict unless `ids` names each provider of the list once."""
    revision = _next_revision(tx)
    if sorted(ids) != sorted(provider.id for provider in list_all(tx)):
        raise Conflict("the order must name every provider once, and the list may have changed: reload it")
    for position, provider_id in enumerate(ids, 1):
        tx.execute(_SQL["move"], {"id": provider_id, "position": position, "revision": revision, "updated_by": by})
    return list_all(tx)


def fill(tx: Transaction, vault: Vault, entries: Sequence[tuple[Mapping[str, Any], str | None]]) -> int:
    """Stores the initial list, facts and key of each, and returns their number; 0 when the list was filled before.

    A provider that an administrator has deleted is not created again. Safe when several instances start at once.
    Raises as `create` does.
    """
    if not entries or tx.execute(_SQL["begin"], {"key": REVISION_SETTING}).fetchone() is None:
        return 0
    for facts, key in entries:
        provider = create(tx, vault, facts, key=key, by=audit.SYSTEM.name)
        audit.append(tx, audit.SYSTEM, "llm_provider.created", f"llm_provider:{provider.id}", name=provider.name)
    return len(entries)


def list_all(tx: Transaction) -> list[StoredProvider]:
    """All providers by position."""
    with tx.cursor(row_factory=row_of(StoredProvider)) as cursor:
        return cursor.execute(_SQL["all"]).fetchall()


def newest_revision(tx: Transaction) -> int:
    """The number of the newest change of the list, 0 before the first. While it is unchanged, so is the list.

    -1 when the stored value is not a number; the next change replaces it.
    """
    match settings.get(tx, REVISION_SETTING):
        case None:
            return 0
        case int(number):
            return number
    settings.note_unreadable(REVISION_SETTING, "the list is read once, and again after its next change")
    return -1


def find(tx: Transaction, provider_id: UUID) -> StoredProvider:
    """Raises NotFound."""
    with tx.cursor(row_factory=row_of(StoredProvider)) as cursor:
        provider = cursor.execute(_SQL["find"], {"id": provider_id}).fetchone()
    if provider is None:
        raise NotFound("there is no such provider")
    return provider


def lock(tx: Transaction, provider_id: UUID) -> StoredProvider:
    """The provider, with the whole list locked against changes until the transaction ends. Raises NotFound."""
    tx.execute(_SQL["lock_list"], {"key": REVISION_SETTING})
    return find(tx, provider_id)


def with_keys(tx: Transaction, vault: Vault) -> list[KeyedProvider]:
    """All providers by position, with decrypted keys. A key that does not decrypt affects its own entry only."""
    return [_opened(tx, vault, entry) for entry in list_all(tx)]


def _opened(tx: Transaction, vault: Vault, entry: StoredProvider) -> KeyedProvider:
    if not entry.has_key:
        return KeyedProvider(entry)
    try:
        return KeyedProvider(entry, key=vault.open(tx, entry.id, _FIELD))
    except NetstacksError as error:
        return KeyedProvider(entry, problem=f"the key is unreadable: {error}")


def _next_revision(tx: Transaction) -> int:
    row = tx.execute(_SQL["next_revision"], {"key": REVISION_SETTING}).fetchone()
    assert row is not None
    return int(row["revision"])


def _check_name(tx: Transaction, provider_id: UUID, name: str) -> None:
    if tx.execute(_SQL["namesake"], {"id": provider_id, "name": name}).fetchone() is not None:
        raise Conflict(f"name: another provider is already called {name!r}")
