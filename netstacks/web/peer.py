"""The private listener: what instances ask of each other. It serves these routes and health, and they only there."""

import time
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from netstacks.errors import ComeAgain, Conflict, Forbidden, SessionGone
from netstacks.instance import withdrawals
from netstacks.instance.lookup import FIND_PATH, Key
from netstacks.instance.pending_claims import PendingClaim
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.instance.withdrawals import What, Withdrawal
from netstacks.peer import claims
from netstacks.peer.claims import Ending, Form, FormOfSession, ForPrincipal, HandedOn, Nothing, Wanted, Withdrawn
from netstacks.peer.client import CLOCK_HEADER, INSTANCE_HEADER, Upstream
from netstacks.peer.token import PeerPrincipal
from netstacks.store.audit import Actor
from netstacks.terminal.session import Session
from netstacks.web.admission.waiting_room import HANDED_ON_PATH
from netstacks.web.auth import guard
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import services
from netstacks.web.ws.grants import granted
from netstacks.web.ws.routes import Sock, WebSocket
from netstacks.web.ws.session_client import ControlRequest
from netstacks.web.ws.terminal import authorise, parse_login, resumed
from netstacks.web.ws.terminal_client import TerminalClient

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
        response.headers[CLOCK_HEADER] = f"{time.time():.3f}"
    return response


def said_by_peer(form: type[Form]) -> Form:
    """What the peer that makes this request says; raises Forbidden when it has not signed that for us, just now.

    Raises MalformedClaims when it is not of that form. To be called once in a request: a token is good for one time.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        raise Forbidden("a request to the private listener needs a peer token")
    return claims.read(form, services().peer_tokens.read(services().agent.me.id, request.path, token))


def held(session_id: UUID, form: type[FormOfSession]) -> tuple[FormOfSession, Session | PendingClaim]:
    """What a peer says of a session of this instance. Another owner's is answered with 409 and never forwarded on."""
    said = said_by_peer(form)
    try:
        return said, services().broker.admit(session_id, said.epoch)
    except SessionGone as error:
        raise Conflict(str(error)) from error


@dataclass(frozen=True)
class Admitted:
    """A connection that a peer has authenticated, and the session of this instance that it is for."""

    principal: PeerPrincipal
    place: Session | PendingClaim


def admit(session_id: UUID) -> Admitted:
    """Checks what a peer forwards."""
    said, place = held(session_id, ForPrincipal)
    return Admitted(said.who(), place)


def _authorise(session_id: UUID) -> ControlRequest:
    admitted = admit(session_id)
    principal = admitted.principal
    if principal.kind != "control":
        raise Forbidden("only its user has the terminal of a session")
    actor = Actor(principal.username, principal.user_id, principal.address, parse_login())
    return resumed(actor, admitted.place)


@sock.route("/peer/sessions/<uuid:session_id>/terminal", bp=blueprint, authorise=_authorise)
def terminal(ws: WebSocket, asked: ControlRequest, session_id: UUID) -> None:
    TerminalClient(ws, asked).run()


def _authorise_handed_on() -> ControlRequest:
    """A client that would wait for long at a peer. Whether its log-in still holds is asked here."""
    said = said_by_peer(HandedOn)
    guard.act_for(Subject(said.user_id, said.username, said.role, said.login_id))
    grant = services().admission.try_now()
    if grant is None:
        raise ComeAgain("this instance has no room for another terminal now")
    actor = Actor(said.username, said.user_id, said.address, said.login_id)
    with granted(request.environ, grant):
        place = authorise(actor, said.reconnect_token)
    if isinstance(place, Upstream):
        place.socket.close()
        raise Conflict("another instance has the session by now")
    return place


@sock.route(HANDED_ON_PATH, bp=blueprint, authorise=_authorise_handed_on)
def handed_on(ws: WebSocket, asked: ControlRequest) -> None:
    TerminalClient(ws, asked).run()


@blueprint.post("/peer/sessions/<uuid:session_id>/end")
def end(session_id: UUID) -> Response:
    said, place = held(session_id, Ending)
    session = place.wait() if isinstance(place, PendingClaim) else place
    # An instance of a former version asks here for both.
    session.end(said.reason, only_detached=said.only_detached)
    return Response(status=204)


@blueprint.post("/peer/sessions/<uuid:session_id>/end-detached")
def end_detached(session_id: UUID) -> Response:
    said, place = held(session_id, Ending)
    # One that is being opened has a client that waits for it.
    if not isinstance(place, PendingClaim):
        place.end(said.reason, only_detached=True)
    return Response(status=204)


@blueprint.post(withdrawals.PATH)
def withdraw() -> Response:
    said = said_by_peer(Withdrawn)
    services().withdrawals.here([Withdrawal(said.user_id, What(said.what), said.login_ids)])
    return Response(status=204)


@blueprint.post(ALIVE_PATH)
def alive() -> Response:
    said_by_peer(Nothing)
    return Response(status=204)


@blueprint.post(FIND_PATH)
def find() -> Response:
    wanted = said_by_peer(Wanted)
    return jsonify(services().broker.describe(Key(wanted.session_id, wanted.token)))
