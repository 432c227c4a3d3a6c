"""The folders of a user's session definitions (docs/protocol.md, 5.4). They are personal, hence not audited."""

from typing import Annotated
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.formats import Timestamp, Uuid
from netstacks.store import definitions, folders
from netstacks.store.definitions import Assignment
from netstacks.store.folders import Folder
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body
from netstacks.web.http.fields import Name
from netstacks.web.http.organisation import ORG_ID
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("folders", __name__)

SortOrder = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class NewFolder(BaseModel):
    name: Name
    parent_id: UUID | None = None


class FolderChange(BaseModel):
    """The changeable members of a folder; absent ones keep their value."""

    name: Name = ""
    parent_id: UUID | None = None
    sort_order: SortOrder = 0


class Filing(BaseModel):
    folder_id: UUID | None
    sort_order: SortOrder | None = None


class FolderJson(TypedDict):
    id: Uuid
    user_id: Uuid
    org_id: Uuid
    name: str
    parent_id: Uuid | None
    """Null at the top level."""
    sort_order: int
    created_at: Timestamp
    updated_at: Timestamp


class AssignmentJson(TypedDict):
    """The folder that a session definition is in."""

    id: Uuid
    user_id: Uuid
    session_definition_id: Uuid
    folder_id: Uuid | None
    """Null at the top level."""
    sort_order: int
    created_at: Timestamp


@blueprint.get("/api/session-definitions/folders")
@guard.requires("devices.access")
def list_folders() -> list[FolderJson]:
    """The user's folders, as a bare array."""
    with services().database.transaction() as tx:
        return [as_json(folder) for folder in folders.list_all(tx, guard.identity().user_id)]


@blueprint.post("/api/session-definitions/folders")
@guard.requires("devices.access")
@takes_body(NewFolder)
@answers(201)
def create_folder(body: NewFolder) -> tuple[FolderJson, int]:
    with guard.transaction() as tx:
        return as_json(folders.create(tx, guard.identity().user_id, body.name, body.parent_id)), 201


@blueprint.put("/api/session-definitions/folders/<uuid:folder_id>")
@guard.requires("devices.access")
@takes_body(FolderChange)
def update_folder(body: FolderChange, folder_id: UUID) -> FolderJson:
    values = body.model_dump(exclude_unset=True)
    with guard.transaction() as tx:
        return as_json(folders.update(tx, guard.identity().user_id, folder_id, values))


@blueprint.delete("/api/session-definitions/folders/<uuid:folder_id>")
@guard.requires("devices.access")
@answers(204)
def delete_folder(folder_id: UUID) -> Response:
    """Deletes a folder; its contents move to the top level."""
    with guard.transaction() as tx:
        folders.delete(tx, guard.identity().user_id, folder_id)
    return Response(status=204)


@blueprint.get("/api/session-definitions/assignments")
@guard.requires("devices.access")
def list_assignments() -> list[AssignmentJson]:
    """The user's assignments of definitions to folders, as a bare array."""
    with services().database.transaction() as tx:
        return [_assignment(each) for each in definitions.assignments(tx, guard.identity().user_id)]


@blueprint.put("/api/session-definitions/<uuid:definition_id>/folder")
@guard.requires("devices.access")
@takes_body(Filing)
def file_definition(body: Filing, definition_id: UUID) -> AssignmentJson:
    """Moves a definition to one of the user's folders, or to the top level."""
    user_id = guard.identity().user_id
    with guard.transaction() as tx:
        definitions.lock(tx, definition_id, within=guard.identity().reach)
        if body.folder_id is not None:
            folders.lock(tx, user_id, body.folder_id)
        return _assignment(definitions.assign(tx, user_id, definition_id, body.folder_id, body.sort_order))


def as_json(folder: Folder) -> FolderJson:
    """A folder in the API."""
    return {
        "id": str(folder.id),
        "user_id": str(folder.user_id),
        "org_id": ORG_ID,
        "name": folder.name,
        "parent_id": str(folder.parent_id) if folder.parent_id else None,
        "sort_order": folder.sort_order,
        "created_at": timestamp(folder.created_at),
        "updated_at": timestamp(folder.updated_at),
    }


def _assignment(assignment: Assignment) -> AssignmentJson:
    return {
        "id": str(assignment.id),
        "user_id": str(assignment.user_id),
        "session_definition_id": str(assignment.definition_id),
        "folder_id": str(assignment.folder_id) if assignment.folder_id else None,
        "sort_order": assignment.sort_order,
        "created_at": timestamp(assignment.created_at),
    }
