"""What administrators do on HA status: drain an instance and cancel that, move and watch a session, each foreseen."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import structlog
from flask import Blueprint, Response, jsonify
from pydantic import BaseModel

from netstacks.cluster.model import Peer
from netstacks.cluster.overview import check_drain
from netstacks.errors import Conflict, NotFound, PeerFailed, RegistryUnavailable, RetryLater, SessionGone
from netstacks.instance.forecasts import DrainForecast, MoveForecast
from netstacks.instance.pending_claims import PendingClaim
from netstacks.peer.claims import FormOfSession, Moving, Nothing, OfSession, Telling
from netstacks.peer.client import NoAnswer, Reply
from netstacks.store import audit, sessions, shares
from netstacks.store.pool import Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.setting_definitions import SHARING
from netstacks.store.sight import seen_sessions
from netstacks.terminal.session import Session
from netstacks.web import peer
from netstacks.web.api.ha_status_json import lines_of
from netstacks.web.api.ha_status_types import InstanceDrain, SessionMove, Watch
from netstacks.web.api.shares import share_url
from netstacks.web.auth import features, guard
from netstacks.web.auth.seeing import sight
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body

blueprint = Blueprint("ha_actions", __name__)
log = structlog.get_logger()

_INSTANCE = "/api/v1/ha/instances/<instance_id>"
_SESSION = "/api/v1/ha/sessions/<uuid:session_id>"
_FORECAST_PATH, _CANCEL_PATH = "/peer/instance/forecast", "/peer/instance/cancel-drain"
_WATCH_MINUTES = 60


class _Drain(BaseModel):
    force: bool = False


# Instances.


@blueprint.get(f"{_INSTANCE}/forecast")
@guard.requires("ha.manage")
def forecast_drain(instance_id: str) -> DrainForecast:
    """What a drain of the instance would do now; the instance itself answers."""
    parts = services()
    if instance_id == parts.agent.me.id:
        return _seen(parts.forecasts.of_instance())
    match parts.peers.call(_peer(instance_id), _FORECAST_PATH):
        case Reply(dict(found)):
            return _seen(cast(DrainForecast, found))
        case _:
            raise RetryLater(f"{instance_id} does not answer, so its sessions cannot be examined now. Try again.")


def _seen(forecast: DrainForecast) -> DrainForecast:
    """The forecast, which counts all sessions, naming only those that are in sight."""
    seen_by = sight("ha.manage")
    if not seen_by.is_limited or not forecast["at_risk"]:
        return forecast
    with services().database.transaction() as tx:
        seen = seen_sessions(tx, [UUID(each["session_id"]) for each in forecast["at_risk"]], seen_by)
    return {**forecast, "at_risk": [each for each in forecast["at_risk"] if UUID(each["session_id"]) in seen]}


@blueprint.post(f"{_INSTANCE}/drain")
@guard.requires("ha.manage")
@takes_body(_Drain)
@answers(202)
def drain(body: _Drain, instance_id: str) -> tuple[InstanceDrain, int]:
    """Requests that an instance hand over its sessions and shut down; it reads the request at its next heartbeat."""
    parts, by = services(), guard.identity().username
    check_drain(lines_of(parts, parts.observer.look()), instance_id, force=body.force)
    log.info("instance.drain_requested", instance_id=instance_id, by=by)
    if instance_id == parts.agent.me.id:
        # Directly: that takes effect at once, and works while Valkey is unreachable.
        parts.agent.on_drain()
        with contextlib.suppress(RegistryUnavailable, NotFound):
            parts.observer.drain(instance_id, by=by)
    else:
        parts.observer.drain(instance_id, by=by)
    # Deferred: the drain must work while PostgreSQL is unreachable, which may be the reason for it.
    _note_later("instance.drain_requested", f"instance:{instance_id}", force=body.force)
    return {"instance_id": instance_id, "state": "draining"}, 202


@blueprint.delete(f"{_INSTANCE}/drain")
@guard.requires("ha.manage")
@answers(200, 202)
def cancel_drain(instance_id: str) -> tuple[InstanceDrain, int]:
    """Cancels a drain: 200 when the instance serves again, 202 when it will read that at its next heartbeat."""
    parts, by = services(), guard.identity().username
    if instance_id == parts.agent.me.id:
        parts.drain_control.cancel()
        is_done = True
    else:
        is_done = _cancel_at_peer(instance_id)
    log.info("instance.drain_cancel_requested", instance_id=instance_id, by=by)
    parts.observer.expire()
    parts.agent.record_event("drain_cancelled", instance_id, by=by)
    _note_later("instance.drain_cancelled", f"instance:{instance_id}")
    return {"instance_id": instance_id, "state": "active" if is_done else "draining"}, 200 if is_done else 202


def _cancel_at_peer(instance_id: str) -> bool:
    """Whether the instance has confirmed the cancel; otherwise its next heartbeat finds it. Raises Conflict."""
    parts = services()
    try:
        answer = parts.peers.call(_peer(instance_id), _CANCEL_PATH)
    except PeerFailed as error:
        log.info("instance.cancel_failed", instance_id=instance_id, error=str(error))
        answer = NoAnswer("declined")
    match answer:
        case Reply({"refused": str(why), "is_requested": is_requested}):
            if is_requested or not _is_to_drain(instance_id):
                raise Conflict(f"{instance_id}: {why}")
            # It has not read the request for the drain yet, and now finds none.
            parts.observer.cancel_drain(instance_id)
            return True
        case Reply():
            return True
        case NoAnswer():
            if not _is_to_drain(instance_id):
                raise Conflict(f"{instance_id} is not draining, so there is nothing to cancel")
            parts.observer.cancel_drain(instance_id)
            return False


def _is_to_drain(instance_id: str) -> bool:
    """Whether the registry has a request for a drain of the instance."""
    services().observer.expire()
    instance = services().observer.look().snapshot.instances.get(instance_id)
    return instance is not None and instance.state == "draining"


def _peer(instance_id: str) -> Peer:
    instance = services().observer.look().snapshot.instances.get(instance_id)
    if instance is None:
        raise NotFound(f"there is no instance {instance_id}: it has left, or it was reaped")
    return Peer(instance.id, instance.peer_address)


@blueprint.post(_FORECAST_PATH)
def forecast_drain_for_peer() -> Response:
    peer.read_claims(Nothing)
    return jsonify(services().forecasts.of_instance())


@blueprint.post(_CANCEL_PATH)
def cancel_drain_for_peer() -> Response:
    peer.read_claims(Nothing)
    control = services().drain_control
    try:
        control.cancel()
    except Conflict as error:
        # Not as 409: the caller would take that for another instance's answer.
        return jsonify(refused=str(error), is_requested=control.is_requested)
    return jsonify(refused=None)


# Sessions.


@blueprint.get(f"{_SESSION}/forecast")
@guard.requires("ha.manage")
@answers(409)
def forecast_move(session_id: UUID) -> MoveForecast:
    """What a move of the session would do now."""
    with services().database.transaction() as tx:
        _live(tx, session_id, "ha.manage")
    return cast(MoveForecast, _at_owner(session_id, "forecast"))


@blueprint.post(f"{_SESSION}/move")
@guard.requires("ha.manage")
@answers(202)
def move(session_id: UUID) -> tuple[SessionMove, int]:
    """Has the owner hand the session over; its client continues at another instance."""
    by = guard.identity().username
    with guard.transaction() as tx:
        row = _live(tx, session_id, "ha.manage")
    moved = _at_owner(session_id, "move", by=by)
    log.info("session.moved", session_id=str(session_id), by=by)
    # Deferred: the session has moved, so the event must be stored even if PostgreSQL is unreachable by now.
    _note_later("session.moved", f"session:{session_id}", owner=row.username, former=moved["instance_id"])
    return {"session_id": str(session_id), "state": "moving"}, 202


@blueprint.post(f"{_SESSION}/watch")
@guard.requires("sessions.manage")
@answers(201)
def watch(session_id: UUID) -> tuple[Watch, int]:
    """Makes a read-only share for one viewer, after the session's user was told."""
    features.check(services().system_settings.get, SHARING)
    by = guard.identity().username
    with guard.transaction() as tx:
        _live(tx, session_id, "sessions.manage")
    # Before the share exists: the user must know that the session may be watched.
    text = f"administrator {by} may watch this session for the next {_WATCH_MINUTES} minutes"
    _at_owner(session_id, "tell", text=text)
    with guard.transaction() as tx:
        share = shares.create(
            tx,
            session_id=session_id,
            permission="read-only",
            max_viewers=1,
            ttl=timedelta(minutes=_WATCH_MINUTES),
            created_by=by,
        )
        audit.append(tx, guard.actor(), "session.watched", f"session:{session_id}", share=str(share.id))
    return {"share_url": share_url(share)}, 201


def _live(tx: Transaction, session_id: UUID, permission: str) -> SessionRow:
    """The row of a session that is in sight with `permission`. Raises NotFound, Conflict when the session has ended."""
    row = sessions.find_seen(tx, session_id, by=sight(permission))
    if row is None:
        raise NotFound("There is no such session.")
    if row.state == "ended":
        raise Conflict(f"This session has ended already: {row.end_reason}")
    return row


def _note_later(event: str, resource: str, **details: Any) -> None:
    services().deferred_writes.put(audit.append, guard.actor(), event, resource, **details)


# Operations at the session's owner: it alone has the output, and the user's terminal.


def _move(session: Session, *, by: str) -> Mapping[str, Any]:
    services().moves.move(session, by)
    return {"instance_id": session.facts.owner}


def _tell(session: Session, *, text: str) -> Mapping[str, Any]:
    session.tell_user(text)
    return {}


_OPERATIONS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "forecast": lambda session: services().forecasts.of_session(session),
    "move": _move,
    "tell": _tell,
}


def _at_owner(session_id: UUID, operation: str, **arguments: str) -> Mapping[str, Any]:
    """Runs an operation at the owner. Raises Conflict with its refusal, and RetryLater when no owner answers."""
    try:
        found = services().broker.ask(session_id, operation, **arguments)
    except SessionGone as error:
        raise Conflict(str(error)) from error
    match found:
        case Session():
            return _OPERATIONS[operation](found, **arguments)
        case PendingClaim():
            raise RetryLater("The session is being opened on another instance. Try again in a moment.")
        case Reply({"refused": str(why)}):
            raise Conflict(why)
        case Reply(dict(body)):
            return body
        case _:
            raise NotFound("There is no such session.")


@blueprint.post("/peer/sessions/<uuid:session_id>/forecast")
def forecast_move_for_peer(session_id: UUID) -> Response:
    return _answer_peer(session_id, "forecast", OfSession)


@blueprint.post("/peer/sessions/<uuid:session_id>/move")
def move_for_peer(session_id: UUID) -> Response:
    return _answer_peer(session_id, "move", Moving)


@blueprint.post("/peer/sessions/<uuid:session_id>/tell")
def tell_for_peer(session_id: UUID) -> Response:
    return _answer_peer(session_id, "tell", Telling)


def _answer_peer(session_id: UUID, operation: str, form: type[FormOfSession]) -> Response:
    message, location = peer.owned(session_id, form)
    if isinstance(location, PendingClaim):
        raise RetryLater("the session is being opened there: try again in a moment")
    try:
        return jsonify(_OPERATIONS[operation](location, **message.model_dump(exclude={"epoch"})))
    except Conflict as error:
        # Not as 409: the caller would look for another owner.
        return jsonify(refused=str(error))
