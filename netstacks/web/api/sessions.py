"""`/api/sessions` and `/api/v1/sessions`: the lists of sessions, and the end of one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.cluster.model import SessionState
from netstacks.errors import Conflict, NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.store import audit, session_lists, sessions
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_query
from netstacks.web.http.fields import Moment

blueprint = Blueprint("sessions", __name__)


class _Page(BaseModel):
    state: str | None = Field(None, pattern="^(live|ended)$")
    limit: int = Field(100, ge=1, le=500)
    before: Moment | None = None


class _Search(_Page):
    """`device` is a part of a device's name, `owner` an instance."""

    user: str | None = Field(None, max_length=200)
    device: str | None = Field(None, max_length=200)
    owner: str | None = Field(None, max_length=60)


class SessionJson(TypedDict):
    """A session. `started_at` has microseconds: it is the `before` of the next page."""

    id: Uuid
    username: str
    device_id: Uuid | None
    device_name: str
    host: str
    port: int
    state: SessionState
    owner: str | None
    """The instance that holds its SSH connection."""
    epoch: int
    """It grows with each change of the owner."""
    cols: int
    rows: int
    started_at: Timestamp
    detached_at: Timestamp | None
    """Since when no client is connected."""
    ended_at: Timestamp | None
    end_reason: str | None
    attachments: int | None
    """How many clients are connected; null when another instance owns the session."""
    recording_bytes: int
    is_mine: bool
    """Whether it belongs to the user of the request."""


class FoundSessionJson(SessionJson):
    """A session of any user."""

    user_id: Uuid | None


class Sessions(TypedDict):
    items: list[SessionJson]
    next: Timestamp | None
    """The `before` of the next page; null on the last one."""


class FoundSessions(TypedDict):
    items: list[FoundSessionJson]
    next: Timestamp | None
    """The `before` of the next page; null on the last one."""


@blueprint.get("/api/sessions")
@guard.requires()
@takes_query(_Page)
def browse(query: _Page) -> Sessions:
    """The user's own sessions, newest first; with `sessions.manage` those of all users."""
    identity = guard.identity()
    with services().database.transaction() as tx:
        page = session_lists.page(
            tx,
            seen_by=sight(),
            live=None if query.state is None else query.state == "live",
            before=query.before,
            limit=query.limit,
        )
    return {"items": [_item(row, identity) for row in page.rows], "next": _text(page.next)}


@blueprint.get("/api/v1/sessions")
@guard.requires("sessions.manage")
@takes_query(_Search)
def search(query: _Search) -> FoundSessions:
    """The sessions of all users that match, newest first.

    A search by device ends after some sessions, with fewer items than `limit` and a `next`.
    """
    with services().database.transaction() as tx:
        page = session_lists.page(
            tx,
            live=None if query.state is None else query.state == "live",
            username=query.user,
            device=query.device,
            owner=query.owner,
            seen_by=sight(),
            before=query.before,
            limit=query.limit,
        )
    items: list[FoundSessionJson] = [
        {**_item(row, guard.identity()), "user_id": row["user_id"] and str(row["user_id"])} for row in page.rows
    ]
    return {"items": items, "next": _text(page.next)}


def _item(row: dict[str, Any], identity: guard.Identity) -> SessionJson:
    local = services().hub.find(row["id"])
    return {
        "id": str(row["id"]),
        "username": row["username"],
        "device_id": str(row["device_id"]) if row["device_id"] else None,
        "device_name": row["device_name"],
        "host": row["host"],
        "port": row["port"],
        "state": row["state"],
        "owner": row["owner"],
        "epoch": row["epoch"],
        "cols": row["cols"],
        "rows": row["rows"],
        "started_at": row["started_at"].isoformat(),
        "detached_at": _text(row["detached_at"]),
        "ended_at": _text(row["ended_at"]),
        "end_reason": row["end_reason"],
        # Known only to the instance that owns the session.
        "attachments": len(local.attachments) if local else None,
        "recording_bytes": local.output.end if local and not local.recording.is_stopped else row["recording_bytes"],
        "is_mine": row["user_id"] == identity.user_id,
    }


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


@blueprint.delete("/api/sessions/<uuid:session_id>")
@guard.requires()
@answers(204)
def end(session_id: UUID) -> tuple[str, int]:
    """Ends a session on any instance: one of the user's own, or any with `sessions.manage`."""
    identity = guard.identity()
    with guard.transaction() as tx:
        row = sessions.find_seen(tx, session_id, by=sight())
        if row is None:
            raise NotFound("There is no such session.")
        if row.state == "ended":
            raise Conflict(f"This session has ended already: {row.end_reason}")
    services().broker.end(session_id, f"ended by {identity.username}")
    # Deferred: the session has ended, so the event must be stored even if PostgreSQL is unreachable by now.
    event = ("session.ended_by_user", f"session:{session_id}")
    services().deferred_writes.put(audit.append, guard.actor(), *event, owner=row.username)
    return "", 204
