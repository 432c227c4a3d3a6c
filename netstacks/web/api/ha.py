"""HA status for operators: `/api/v1/ha`, shown on the page HA status (specification, Workflow 4)."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC
from typing import Annotated, Any, get_args

import structlog
from flask import Blueprint, Response
from pydantic import BaseModel, BeforeValidator, Field
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.cluster.event_texts import matching
from netstacks.cluster.model import EventKind, SessionState
from netstacks.errors import StoreBusy
from netstacks.formats import Timestamp, Uuid
from netstacks.instance.history import STEP_SECS, Hour
from netstacks.instance.observer import SEARCHED_EVENTS, View
from netstacks.instance.session_survey import MAX_SESSIONS, SurveyedSession
from netstacks.store import audit
from netstacks.store.sight import Sight
from netstacks.web.api.ha_status_json import Rendered, event_json, rendered, seen_events, seen_status
from netstacks.web.api.ha_status_types import ClusterEventJson, HaStatus
from netstacks.web.auth import guard
from netstacks.web.auth.seeing import sight
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import Services, services
from netstacks.web.http.declarations import answers, produces, takes_query
from netstacks.web.http.fields import Moment
from netstacks.web.http.json_response import JsonResponse
from netstacks.web.http.outputs import moment, timestamp

blueprint = Blueprint("ha", __name__)
log = structlog.get_logger()

_LOOK_SECS = 1.0
# Ages alone are sent at most this often, and a comment at least this often: a client takes ten seconds of silence for a
# dead connection.
_AGES_SECS = 2.0
_SILENCE_SECS = 5.0
# A stream ends after this time, and the browser opens another one.
_STREAM_SECS = 600.0
_RECONNECT_MSECS = 1000


def _kinds(text: Any) -> Any:
    """The kinds in a list separated by commas."""
    kinds = tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text
    known = get_args(EventKind)
    if unknown := [each for each in kinds if each not in known]:
        raise ValueError(f"{unknown[0]!r} is not a kind of event: use one of {', '.join(known)}")
    return kinds


class EventQuery(BaseModel):
    """`kind` may be several kinds, separated by commas; `instance` finds the events that name it in any role."""

    kind: Annotated[tuple[EventKind, ...], BeforeValidator(_kinds)] = ()
    instance: str | None = None
    limit: int = Field(50, ge=1, le=SEARCHED_EVENTS)


class SessionQuery(BaseModel):
    """A page of live sessions: those of `instance`, or all; those that began before `before`."""

    instance: str | None = None
    limit: int = Field(50, ge=1, le=MAX_SESSIONS)
    before: Moment | None = None


# `from` is a keyword of Python.
InstanceHistory = TypedDict(
    "InstanceHistory",
    {
        "from": Timestamp,
        "sessions": Sequence[int | None],
        "heartbeat_age_secs": Sequence[float | None],
        "loop_lag_ms": Sequence[float | None],
        "valkey_latency_ms": Sequence[float | None],
        "memory_mib": Sequence[int | None],
    },
)


class HistoryJson(TypedDict):
    """The series of all instances: the newest value last, null for a step without samples."""

    step_secs: int
    instances: dict[str, InstanceHistory]
    """By instance id."""


class ClusterEvents(TypedDict):
    items: list[ClusterEventJson]


class ClusterSessionJson(TypedDict):
    """A live session. `started_at` has microseconds: it is the `before` of the next page."""

    id: Uuid
    username: str
    device_name: str
    owner: str | None
    """The instance that holds its SSH connection."""
    former_owner: str | None
    """An owner that has died, until another instance claims the session."""
    epoch: int
    """It grows with each change of the owner."""
    state: SessionState
    viewers: int | None
    """Null while the owner does not answer."""
    started_at: Timestamp
    bytes: int | None
    """Of its output; null while the owner does not answer."""


class ClusterSessions(TypedDict):
    items: list[ClusterSessionJson]
    next: Timestamp | None
    """The `before` of the next page; null on the last one."""


@blueprint.get("/api/v1/ha/status")
@guard.requires("ha.view")
def status() -> JsonResponse[HaStatus]:
    """The state of all instances, of Valkey and of PostgreSQL."""
    parts = services()
    found = rendered(parts, parts.observer.look())
    return JsonResponse(_body(found, sight("ha.view")))


@blueprint.get("/api/v1/ha/history")
@guard.requires("ha.view")
def get_history() -> HistoryJson:
    """The last hour of every registered and lost instance."""
    return history(services())


@blueprint.get("/api/v1/ha/events")
@guard.requires("ha.view")
@takes_query(EventQuery)
def list_events(query: EventQuery) -> ClusterEvents:
    """The newest events that match, newest first."""
    return {"items": events(services(), query, sight("ha.view"))}


@blueprint.get("/api/v1/ha/sessions")
@guard.requires("ha.view")
@takes_query(SessionQuery)
def list_sessions(query: SessionQuery) -> ClusterSessions:
    """A page of live sessions, newest first; `next` is the `before` of the next page, null on the last one."""
    return sessions(services(), query, sight("ha.view"))


@blueprint.get("/api/v1/ha/stream")
@guard.requires("ha.view")
@produces("text/event-stream")
def stream() -> Response:
    """The status as server-sent events: one event per change."""
    parts, seen_by = services(), sight("ha.view")
    parts.ha_streams.check(seen_by.user_id)
    response = Response(_changes(parts, seen_by, lasting_rights()), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # Else nginx buffers the events.
    return response


def lasting_rights() -> Callable[[], bool]:
    """A function that tells whether the user of this request still has the rights that it has now.

    They decide on the actions that a page offers.
    """
    user, states, may_look = guard.identity(), guard.login_states(), guard.lasting()
    subject = Subject(user.user_id, user.username, user.role, user.login_id)

    def has_same_rights() -> bool:
        try:
            return may_look() and states.role(subject) == user.as_role
        except StoreBusy:
            return True  # Asked again at the next step.

    return has_same_rights


def _body(found: Rendered, seen_by: Sight) -> str:
    return json.dumps(seen_status(found.status, seen_by)) if seen_by.is_limited else found.body


def _changes(parts: Services, seen_by: Sight, may_look: Callable[[], bool]) -> Iterator[str]:
    ends_at = time.monotonic() + _STREAM_SECS
    sent, sent_at = None, 0.0
    with parts.ha_streams.taken(seen_by.user_id):
        yield f"retry: {_RECONNECT_MSECS}\n\n"
        while time.monotonic() < ends_at and not parts.agent.is_draining and may_look():
            now, found = time.monotonic(), rendered(parts, parts.observer.look())
            patience_secs = 0.0 if sent is None or found.news != sent.news else _AGES_SECS
            if (sent is None or found.body != sent.body) and now - sent_at >= patience_secs:
                yield f"data: {_body(found, seen_by)}\n\n"
                sent, sent_at = found, now
            elif now - sent_at >= _SILENCE_SECS:
                # A comment fails, and ends the stream, when the client has gone.
                yield ":\n\n"
                sent_at = now
            greenlets.sleep(_LOOK_SECS)


@blueprint.delete("/api/v1/ha/lost/<instance_id>")
@guard.requires("ha.manage")
@answers(204)
def dismiss(instance_id: str) -> tuple[str, int]:
    """Removes a lost instance from the list: it will not come back, and nothing replaces it."""
    services().observer.dismiss(instance_id, by=guard.identity().username)
    log.info("instance.dismissed", instance_id=instance_id, by=guard.identity().username)
    # Deferred: it is dismissed, so the event must be stored even if PostgreSQL is unreachable.
    services().deferred_writes.put(audit.append, guard.actor(), "instance.dismissed", f"instance:{instance_id}")
    return "", 204


def as_json(parts: Services, view: View, seen_by: Sight | None) -> HaStatus:
    """The status of what is in sight, as docs/protocol.md describes it. Shared by viewers: do not change it."""
    status = rendered(parts, view).status
    return seen_status(status, seen_by) if seen_by else status


def history(parts: Services) -> HistoryJson:
    """The series of all instances. Waits for the registry at the first call only."""
    parts.history.refresh()
    hours = parts.history.hours().items()
    return {
        "step_secs": STEP_SECS,
        "instances": {id: _series(hour) for id, hour in hours},
    }


def events(parts: Services, query: EventQuery, seen_by: Sight | None) -> list[ClusterEventJson]:
    """The newest events in sight that match. Raises RegistryUnavailable while none could be read yet."""
    found = matching(parts.observer.events(), kinds=query.kind, instance_id=query.instance)
    items = [event_json(each) for each in found]
    return (seen_events(items, seen_by) if seen_by else items)[: query.limit]


def sessions(parts: Services, query: SessionQuery, seen_by: Sight | None) -> ClusterSessions:
    """A page of live sessions in sight. Raises StoreUnavailable."""
    survey = parts.session_survey
    found = survey.page(owner=query.instance, before=query.before, limit=query.limit, seen_by=seen_by)
    registered = _registered(parts)
    items = [_session(each, registered) for each in found]
    return {"items": items, "next": items[-1]["started_at"] if len(items) == query.limit else None}


def _registered(parts: Services) -> Collection[str] | None:
    """The instances that can own sessions; None while the registry does not tell them, so that any owner counts."""
    view = parts.observer.look()
    if view.registry.connection == "disconnected" or parts.agent.is_blind:
        return None
    return view.snapshot.instances.keys() | view.snapshot.unreadable.keys()


def _session(surveyed: SurveyedSession, registered: Collection[str] | None) -> ClusterSessionJson:
    row, figures = surveyed.row, surveyed.figures
    is_owned = row.owner is not None and (registered is None or row.owner in registered)
    return {
        "id": str(row.id),
        "username": row.username,
        "device_name": row.device_name,
        "owner": row.owner if is_owned else None,
        # An owner that has died: the row names it until another instance claims the session.
        "former_owner": None if is_owned else row.owner,
        "epoch": row.epoch,
        "state": row.state,
        "viewers": figures.viewers if figures else None,
        # With microseconds: it is the cursor of the next page.
        "started_at": row.started_at.astimezone(UTC).isoformat(),
        # A session without an owner has what its former owners recorded.
        "bytes": figures.bytes if figures else None if is_owned else row.recording_bytes,
    }


def _series(hour: Hour) -> InstanceHistory:
    return {
        "from": timestamp(moment(hour.began_at)),
        "sessions": hour.sessions,
        "heartbeat_age_secs": hour.heartbeat_age_secs,
        "loop_lag_ms": hour.loop_lag_ms,
        "valkey_latency_ms": hour.valkey_latency_ms,
        "memory_mib": hour.memory_mib,
    }
