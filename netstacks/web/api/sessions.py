"""`/api/sessions`: the list of sessions, and the end of one."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, Field

from netstacks.errors import Conflict, NotFound
from netstacks.store import audit, sessions
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.fields import Moment
from netstacks.web.http.inputs import parse_query

blueprint = Blueprint("sessions", __name__)


class _Page(BaseModel):
    state: str | None = Field(None, pattern="^(live|ended)$")
    limit: int = Field(100, ge=1, le=500)
    before: Moment | None = None


@blueprint.get("/api/sessions")
@guard.requires()
def browse() -> Response:
    """The user's own sessions, newest first; with `sessions.manage` those of all users."""
    query = parse_query(_Page)
    identity = guard.identity()
    with services().database.transaction() as tx:
        rows = sessions.list_page(
            tx,
            user_id=None if identity.may("sessions.manage") else identity.user_id,
            live=None if query.state is None else query.state == "live",
            before=query.before,
            limit=query.limit,
        )
    items = [_item(row, identity) for row in rows]
    return jsonify(items=items, next=items[-1]["started_at"] if len(items) == query.limit else None)


def _item(row: dict[str, Any], identity: guard.Identity) -> dict[str, Any]:
    local = services().hub.find(row["id"])
    names = ("username", "device_name", "host", "port", "state", "epoch", "end_reason", "cols", "rows", "owner")
    times = ("started_at", "detached_at", "ended_at")
    return {
        "id": str(row["id"]),
        **{name: row[name] for name in names},
        **{name: row[name].isoformat() if row[name] else None for name in times},
        "device_id": str(row["device_id"]) if row["device_id"] else None,
        # Known only to the instance that owns the session.
        "attachments": len(local.attachments) if local else None,
        "recording_bytes": local.output.end if local and not local.recording.is_stopped else row["recording_bytes"],
        "is_mine": row["user_id"] == identity.user_id,
    }


@blueprint.delete("/api/sessions/<uuid:session_id>")
@guard.requires()
def end(session_id: UUID) -> tuple[str, int]:
    """Ends a session on any instance: one of the user's own, or any with `sessions.manage`."""
    identity = guard.identity()
    with guard.transaction() as tx:
        row = sessions.find(tx, session_id)
        if row is None or not (row.user_id == identity.user_id or identity.may("sessions.manage")):
            raise NotFound("There is no such session.")
        if row.state == "ended":
            raise Conflict(f"This session has ended already: {row.end_reason}")
    services().broker.end(session_id, f"ended by {identity.username}")
    # Deferred: the session has ended, so the event must be stored even if PostgreSQL is unreachable by now.
    event = ("session.ended_by_user", f"session:{session_id}")
    services().deferred_writes.put(audit.append, guard.actor(), *event, owner=row.username)
    return "", 204
