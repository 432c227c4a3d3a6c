"""The private listener, for requests between instances (docs/protocol.md, 14). Only it serves these routes."""

import time
from dataclasses import asdict, dataclass
from uuid import UUID

from flask import Blueprint, Flask, Response, g, jsonify, request
from werkzeug.exceptions import NotFound

from netstacks.errors import Conflict, Forbidden, RetryLater, SessionGone
from netstacks.instance import session_survey, withdrawals
from netstacks.instance.lookup import FIND_PATH, Key
from netstacks.instance.pending_claims import PendingClaim
from netstacks.instance.relay_watch import ALIVE_PATH
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.peer import claims
from netstacks.peer.claims import (
    Ending,
    Form,
    FormOfSession,
    ForPrincipal,
    HandedOn,
    Nothing,
    RoleChanged,
    Surveyed,
    Wanted,
    Withdrawn,
)
from netstacks.peer.client import CLOCK_HEADER, INSTANCE_HEADER, Upstream
from netstacks.peer.token import PeerPrincipal
from netstacks.store.audit import Actor
from netstacks.terminal.session import Session
from netstacks.web.admission.handing_on import HANDED_ON_PATH
from netstacks.web.auth import enforcement, guard
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import services
from netstacks.web.ws.control_request import ControlRequest
from netstacks.web.ws.grants import granted
from netstacks.web.ws.routes import Sock, WebSocket
from netstacks.web.ws.terminal import authorise, parse_login, resumed
from netstacks.web.ws.terminal_client import TerminalClient

blueprint = Blueprint("peer", __name__)
sock = Sock()


def init_app(app: Flask) -> None:
    """Separates the routes of the private listener from those of the public one."""
    app.before_request(_check_listener)
    app.after_request(_sign)


def _check_listener() -> None:
    rule = request.url_rule.rule if request.url_rule else ""
    if is_private():
        g.answered_by = services().agent.me.id
    if is_private() != rule.startswith("/peer/"):
        raise NotFound


def is_private() -> bool:
    """Whether this request came to the private listener.

    Decided by the socket: a client can forge headers and SERVER_PORT through a trusted proxy.
    """
    sock = request.environ.get("gunicorn.socket")
    return sock is not None and sock.getsockname()[1] == services().peer_port


def _sign(response: Response) -> Response:
    if "answered_by" in g:
        response.headers[INSTANCE_HEADER] = g.answered_by
        response.headers[CLOCK_HEADER] = f"{time.time():.3f}"
    return response


def read_claims(form: type[Form]) -> Form:
    """The claims of the peer token of this request. Call it once per request: a token is valid once.

    Raises Forbidden when the token is missing, expired, used or for another instance or path, MalformedClaims when its
    claims do not match `form`.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer":
        raise Forbidden("A request to the private listener needs a peer token.")
    return claims.read(form, services().peer_tokens.read(services().agent.me.id, request.path, token))


def owned(session_id: UUID, form: type[FormOfSession]) -> tuple[FormOfSession, Session | PendingClaim]:
    """The claims about a session that this instance owns, and the session.

    Raises Conflict (409) for a session of another owner: a request is forwarded once only, so routes cannot loop.
    """
    message = read_claims(form)
    try:
        return message, services().broker.admit(session_id, message.epoch)
    except SessionGone as error:
        raise Conflict(str(error)) from error


@dataclass(frozen=True)
class Admitted:
    """A connection that a peer has authenticated and forwarded, and the session of this instance that it is for."""

    principal: PeerPrincipal
    location: Session | PendingClaim


def admit(session_id: UUID) -> Admitted:
    """Authorises a connection that a peer forwards."""
    message, location = owned(session_id, ForPrincipal)
    return Admitted(message.principal(), location)


def _authorise(session_id: UUID) -> ControlRequest:
    admitted = admit(session_id)
    principal = admitted.principal
    if principal.kind != "control":
        raise Forbidden("Only the user of a session may open its terminal.")
    actor = Actor(principal.username, principal.user_id, principal.address, parse_login())
    return resumed(actor, admitted.location)


@sock.route("/peer/sessions/<uuid:session_id>/terminal", bp=blueprint, authorise=_authorise)
def terminal(ws: WebSocket, control_request: ControlRequest, session_id: UUID) -> None:
    TerminalClient(ws, control_request).run()


def _authorise_handed_on() -> ControlRequest:
    """Takes over a client that would wait long at a peer. The peer has verified its token, but not its log-in."""
    client = read_claims(HandedOn)
    guard.act_for(Subject(client.user_id, client.username, client.role, client.login_id))
    enforcement.check_set_up(guard.identity())
    if _is_away(client.reconnect_token):
        raise RetryLater("An administrator has moved this session away from this instance.")
    grant = services().admission.try_now()
    if grant is None:
        raise RetryLater("This instance has no capacity for another terminal now.")
    actor = Actor(client.username, client.user_id, client.address, client.login_id)
    with granted(request.environ, grant):
        target = authorise(actor, client.reconnect_token)
    if isinstance(target, Upstream):
        target.socket.close()
        raise Conflict("Another instance owns the session by now.")
    return target


def _is_away(token: str | None) -> bool:
    try:
        return token is not None and services().moves.is_away(UUID(token))
    except ValueError:
        return False  # `authorise` refuses it.


@sock.route(HANDED_ON_PATH, bp=blueprint, authorise=_authorise_handed_on)
def handed_on(ws: WebSocket, control_request: ControlRequest) -> None:
    TerminalClient(ws, control_request).run()


@blueprint.post("/peer/sessions/<uuid:session_id>/end")
def end(session_id: UUID) -> Response:
    message, location = owned(session_id, Ending)
    session = location.wait() if isinstance(location, PendingClaim) else location
    # Instances of the former version send `only_detached` to this path.
    session.end(message.reason, only_detached=message.only_detached)
    return Response(status=204)


@blueprint.post("/peer/sessions/<uuid:session_id>/end-detached")
def end_detached(session_id: UUID) -> Response:
    message, location = owned(session_id, Ending)
    # A session that is being opened has a client that waits for it: it is not detached.
    if not isinstance(location, PendingClaim):
        location.end(message.reason, only_detached=True)
    return Response(status=204)


@blueprint.post(withdrawals.PATH)
def withdraw() -> Response:
    message = read_claims(Withdrawn)
    services().withdrawals.here([Withdrawal(message.user_id, Scope(message.what), message.login_ids)])
    return Response(status=204)


@blueprint.post(withdrawals.ROLES_PATH)
def role_changed() -> Response:
    services().withdrawals.role_changed_here(read_claims(RoleChanged).name)
    return Response(status=204)


@blueprint.post(ALIVE_PATH)
def alive() -> Response:
    read_claims(Nothing)
    report = services().health.report()
    return jsonify(has_database=report is not None and "database" not in report.degraded)


@blueprint.post(FIND_PATH)
def find() -> Response:
    wanted = read_claims(Wanted)
    return jsonify(services().broker.describe(Key(wanted.session_id, wanted.token)))


@blueprint.post(session_survey.PATH)
def survey() -> Response:
    wanted = read_claims(Surveyed)
    found = services().session_survey.here(wanted.session_ids)
    return jsonify({str(session_id): asdict(figures) for session_id, figures in found.items()})
