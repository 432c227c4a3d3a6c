"""Each user's folders of session definitions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks.errors import InvalidInput, NotFound
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("folders")


@dataclass(frozen=True)
class Folder:
    """A folder of one user; no parent means the top level."""

    id: UUID
    user_id: UUID
    parent_id: UUID | None
    name: str
    sort_order: int
    created_at: datetime
    updated_at: datetime


def list_all(tx: Transaction, user_id: UUID) -> list[Folder]:
    """The user's folders by `sort_order`."""
    return _all(tx, "all", user_id=user_id)


def lock(tx: Transaction, user_id: UUID, folder_id: UUID) -> Folder:
    """The user's folder, with all folders of the user locked until the transaction ends; raises NotFound."""
    return _picked(_all(tx, "lock_all", user_id=user_id), folder_id)


def create(tx: Transaction, user_id: UUID, name: str, parent_id: UUID | None) -> Folder:
    """Raises NotFound when the parent is not a folder of the user."""
    if parent_id is not None:
        lock(tx, user_id, parent_id)
    return _all(tx, "create", id=uuid4(), user_id=user_id, name=name, parent_id=parent_id)[0]


def update(tx: Transaction, user_id: UUID, folder_id: UUID, changes: Mapping[str, Any]) -> Folder:
    """Renames or moves a folder. Raises NotFound, and InvalidInput when it would become its own descendant."""
    folders = _all(tx, "lock_all", user_id=user_id)
    new = replace(_picked(folders, folder_id), **changes)
    ancestor_id = new.parent_id
    while ancestor_id is not None:
        if ancestor_id == folder_id:
            raise InvalidInput("parent_id: a folder cannot be moved into itself or a folder below it")
        ancestor_id = _picked(folders, ancestor_id).parent_id
    return _all(tx, "update", **asdict(new))[0]


def delete(tx: Transaction, user_id: UUID, folder_id: UUID) -> None:
    """Deletes its subfolders too; their definitions move to the top level. Raises NotFound."""
    lock(tx, user_id, folder_id)
    tx.execute(_SQL["delete"], {"id": folder_id})


def _picked(folders: list[Folder], folder_id: UUID) -> Folder:
    for folder in folders:
        if folder.id == folder_id:
            return folder
    raise NotFound("there is no such folder")


def _all(tx: Transaction, statement: str, **parameters: Any) -> list[Folder]:
    with tx.cursor(row_factory=row_of(Folder)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchall()
