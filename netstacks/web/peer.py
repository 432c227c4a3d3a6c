"""The private listener: what instances ask of each other. It serves these routes and health, and they only there."""

from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from netstacks.errors import Conflict, Forbidden, SessionGone
from netstacks.instance.lookup import FIND_PATH, Key
from netstacks.instance.openings import Opening
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.peer.client import INSTANCE_HEADER
from netstacks.peer.token import Claims, Visitor
from netstacks.store.audit import Actor
from netstacks.terminal.session import Session
from netstacks.web.context import services
from netstacks.web.sockets import Sock, WebSocket
from netstacks.web.terminal import Call, Terminal, parse_resume, parse_size, waiting_for

blueprint = Blueprint("peer", __name__)
sock = Sock()


def init_app(app: Flask) -> None:
    """Keeps the two listeners apart."""
    app.before_request(_choose_door)
    app.after_request(_sign)


def _choose_door() -> None:
    rule = request.url_rule.rule if request.url_rule else ""
    if _is_private():
        g.answered_by = services().agent.me.id
    if _is_private() != rule.startswith("/peer/"):
        raise NotFound


def _is_private() -> bool:
    """By the connection itself: every header and SERVER_PORT can be forged through a trusted proxy."""
    sock = request.environ.get("gunicorn.socket")
    return sock is not None and sock.getsockname()[1] == services().peer_port


def _sign(response: Response) -> Response:
    if "answered_by" in g:
        response.headers[INSTANCE_HEADER] = g.answered_by
    return response


def claims() -> Claims:
    """What the peer that makes this request says; raises Forbidden when it has not signed that for us, just now."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    found = services().peer_tokens.read(services().agent.me.id, request.path, token) if scheme == "Bearer" else None
    if found is None:
        raise Forbidden("no peer token, or one that is expired, for another instance or signed with another JWT_SECRET")
    return found


def held(session_id: UUID) -> tuple[Claims, Session | Opening]:
    """What a peer says of a session of this instance. Another owner's is answered with 409 and never forwarded on."""
    said = claims()
    try:
        return said, services().broker.admit(session_id, said["epoch"])
    except SessionGone as error:
        raise Conflict(str(error)) from error


@dataclass(frozen=True)
class Admitted:
    """A connection that a peer has authenticated, and the session of this instance that it is for."""

    visitor: Visitor
    place: Session | Opening


def admit(session_id: UUID) -> Admitted:
    """Checks what a peer forwards."""
    said, place = held(session_id)
    return Admitted(Visitor.of(said["visitor"]), place)


def _authorise(session_id: UUID) -> Call:
    admitted = admit(session_id)
    visitor = admitted.visitor
    if visitor.kind != "control":
        raise Forbidden("only its user has the terminal of a session")
    actor = Actor(visitor.username, visitor.user_id, visitor.address)
    return Call(actor, parse_size(), parse_resume(), waiting_for(admitted.place))


@sock.route("/peer/sessions/<uuid:session_id>/terminal", bp=blueprint, authorise=_authorise)
def terminal(ws: WebSocket, call: Call, session_id: UUID) -> None:
    Terminal(ws, call).run()


@blueprint.post("/peer/sessions/<uuid:session_id>/end")
def end(session_id: UUID) -> Response:
    said, place = held(session_id)
    session = place.wait() if isinstance(place, Opening) else place
    session.end(said["reason"])
    return Response(status=204)


@blueprint.post(ALIVE_PATH)
def alive() -> Response:
    claims()
    return Response(status=204)


@blueprint.post(FIND_PATH)
def find() -> Response:
    return jsonify(services().broker.describe(Key.of(claims())))
