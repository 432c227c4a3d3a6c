"""`/api/recordings`: the recordings of sessions, as asciicast v2 (docs/protocol.md, 12).

A recording has the id of its session.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.errors import AccessWithdrawn, Conflict, Forbidden, InvalidInput, NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.recording import asciicast, storage
from netstacks.recording.chunks import Chunk
from netstacks.store import access, audit
from netstacks.store.pool import Transaction
from netstacks.store.setting_definitions import REPLAY_DOWNLOAD
from netstacks.web.auth import features, guard
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.auth.seeing import sight
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, produces, takes_body, takes_query
from netstacks.web.http.fields import Moment
from netstacks.web.http.outputs import finite, moment

blueprint = Blueprint("recordings", __name__)

_MADE_HERE = "The controller records sessions itself. A client can neither add to a recording nor replace it."


class _Query(BaseModel):
    session_id: UUID | None = None
    before: Moment | None = None
    limit: int = Field(100, ge=1, le=500)


class _Create(BaseModel):
    session_id: UUID | None = None


class _Rename(BaseModel):
    name: str | None = Field(None, max_length=200)


class _Reading(BaseModel):
    """`download`, with any value, makes the answer a download. `input=1` adds the recorded keystrokes."""

    download: str | None = None
    input: str | None = None


def find(tx: Transaction, recording_id: UUID) -> dict[str, Any]:
    """The recording, if the user of this request may see it; raises NotFound."""
    found = storage.list_page(tx, session_id=recording_id, seen_by=sight(), limit=1)
    if not found:
        raise NotFound("There is no such recording.")
    return found[0]


class RecordingJson(TypedDict):
    """The recording of a session, whose id it has."""

    id: Uuid
    session_id: Uuid
    name: str
    terminal_cols: int
    terminal_rows: int
    duration_ms: int
    file_path: Literal[""]
    created_at: Timestamp
    """When the session began."""
    updated_at: Timestamp
    username: str
    device_name: str
    bytes: int
    """Of the session's output."""
    state: str
    """That of the session, or `pruned` when the content was deleted."""


def as_json(row: dict[str, Any]) -> RecordingJson:
    """A recording in the API, without its content."""
    began, last = row["began_at"], row["last_at"]
    # The recorder sets both or neither; a row that was edited by hand may have one.
    last = began if last is None else last
    return {
        "id": str(row["id"]),
        "session_id": str(row["id"]),
        "name": row["recording_name"] or f"{row['username']}@{row['device_name']}",
        "terminal_cols": row["cols"],
        "terminal_rows": row["rows"],
        "duration_ms": round((moment(last) - moment(began)).total_seconds() * 1000) if began is not None else 0,
        "file_path": "",
        "created_at": row["started_at"].isoformat(),
        "updated_at": (moment(last) if last else row["started_at"]).isoformat(),
        "username": row["username"],
        "device_name": row["device_name"],
        "bytes": row["bytes"],
        "state": "pruned" if began is None and row["state"] == "ended" else row["state"],
    }


@blueprint.get("/api/recordings")
@guard.requires("recordings.view")
@takes_query(_Query)
def browse(query: _Query) -> list[RecordingJson]:
    """A page of recordings, newest first."""
    with services().database.transaction() as tx:
        rows = storage.list_page(
            tx, session_id=query.session_id, seen_by=sight(), before=query.before, limit=query.limit
        )
    return [as_json(row) for row in rows]


@blueprint.post("/api/recordings")
@guard.requires("recordings.view")
@takes_body(_Create)
@answers(201)
def create(wanted: _Create) -> tuple[RecordingJson, int]:
    """Returns the recording that the controller makes of the session; nothing is created."""
    if wanted.session_id is None:
        raise InvalidInput(f"session_id: is missing. {_MADE_HERE}")
    with services().database.transaction() as tx:
        return as_json(find(tx, wanted.session_id)), 201


@blueprint.get("/api/recordings/<uuid:recording_id>")
@guard.requires("recordings.view")
def show(recording_id: UUID) -> RecordingJson:
    """One recording, without its content."""
    with services().database.transaction() as tx:
        return as_json(find(tx, recording_id))


@blueprint.put("/api/recordings/<uuid:recording_id>")
@guard.requires("recordings.view")
@takes_body(_Rename)
def rename(wanted: _Rename, recording_id: UUID) -> RecordingJson:
    """Renames a recording. Its other members cannot be changed and are ignored."""
    with guard.transaction() as tx:
        find(tx, recording_id)
        if wanted.name:
            storage.rename(tx, recording_id, wanted.name)
            audit.append(tx, guard.actor(), "recording.renamed", f"session:{recording_id}", name=wanted.name)
        return as_json(find(tx, recording_id))


@blueprint.post("/api/recordings/<uuid:recording_id>/append")
@blueprint.post("/api/recordings/<uuid:recording_id>/save-to-docs")
@guard.requires("recordings.view")
def refuse(recording_id: UUID) -> NoReturn:
    raise Conflict(_MADE_HERE)


@blueprint.delete("/api/recordings/<uuid:recording_id>")
@guard.requires("sessions.manage")
@answers(204)
def delete(recording_id: UUID) -> tuple[str, int]:
    """Hides the recording at once; retention deletes its content within minutes (instance/retention.py)."""
    with guard.transaction() as tx:
        row = find(tx, recording_id)
        if row["state"] != "ended":
            raise Conflict("This session is still being recorded. End it first.")
        storage.discard(tx, [recording_id])
        audit.append(tx, guard.actor(), "recording.deleted", f"session:{recording_id}", bytes=row["bytes"])
    return "", 204


@blueprint.get("/api/recordings/<uuid:recording_id>/data")
@guard.requires("recordings.view")
@takes_query(_Reading)
@produces("application/x-asciicast")
def data(query: _Reading, recording_id: UUID) -> Response:
    """The recording as asciicast v2; `?input=1` adds the recorded keystrokes, which is audited."""
    if query.download:
        features.check(services().system_settings.get, REPLAY_DOWNLOAD)
    with_input = query.input == "1"
    if with_input and not guard.identity().may("recordings.input"):
        raise Forbidden(f"You need the recordings.input permission to {PURPOSES['recordings.input']}.")
    database = services().database
    with guard.transaction() as tx:
        row = find(tx, recording_id)
        event = "recording.input_read" if with_input else "recording.read"
        audit.append(tx, guard.actor(), event, f"session:{recording_id}", device=row["device_name"])
    services().recorder.flush(1.0)
    body = asciicast.lines(
        _while_allowed(storage.chunks(database, recording_id), guard.lasting()),
        title=as_json(row)["name"],
        cols=row["cols"],
        rows=row["rows"],
        started_at=finite(row["began_at"]) or row["started_at"].timestamp(),
        with_input=with_input,
    )
    response = Response(body, mimetype="application/x-asciicast")
    if query.download:
        response.headers["Content-Disposition"] = f'attachment; filename="{recording_id}.cast"'
    return response


def _while_allowed(chunks: Iterator[Chunk], may_read_on: Callable[[], bool]) -> Iterator[Chunk]:
    """The chunks. Raises AccessWithdrawn, which aborts the download."""
    for chunk in chunks:
        if not may_read_on():
            raise AccessWithdrawn(access.WITHDRAWN)
        yield chunk
