"""`/ws/ssh`: the user's own terminal, one WebSocket to one session."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, request
from werkzeug.exceptions import Forbidden

from netstacks import errors, greenlets, permissions
from netstacks.errors import AccessWithdrawn, ComeAgain, InvalidInput, NetstacksError, OpeningAbandoned, SessionGone
from netstacks.instance.admission import Grant
from netstacks.instance.applicants import about
from netstacks.instance.pending_claims import PendingClaim
from netstacks.instance.targets import ConnectRequest
from netstacks.peer.client import Upgrade, Upstream
from netstacks.store import logins
from netstacks.store.audit import Actor
from netstacks.terminal import frames
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session
from netstacks.web.auth import guard
from netstacks.web.context import Services, services
from netstacks.web.http.hang_up import has_hung_up
from netstacks.web.ws.grants import take_grant
from netstacks.web.ws.routes import Sock, WebSocket
from netstacks.web.ws.session_client import ControlRequest
from netstacks.web.ws.terminal_client import TerminalClient

blueprint = Blueprint("terminal", __name__)
sock = Sock()

_ANY_SIZE = (80, 24)


def _authorise() -> ControlRequest | Upstream:
    """Everything that is decided before the upgrade: who it is, from where, what they may do, and who serves them."""
    guard.check_origin()
    return authorise(guard.actor(), request.args.get("reconnect_token"))


def authorise(actor: Actor, token: str | None) -> ControlRequest | Upstream:
    """Who serves this user, who comes back with `token` or wants a new session. Raises Forbidden, ComeAgain."""
    if not guard.identity().may("sessions.connect"):
        raise Forbidden("your role may not open terminals: an administrator can give you the role operator")
    try:
        return _paced(_find(actor, token))
    except (AccessWithdrawn, InvalidInput, SessionGone) as error:
        # A browser does not show the body of a refused upgrade, so the upgrade is accepted and the reason is a frame.
        return _failed(actor, error, is_new=token is None)
    except ComeAgain as error:
        # A client with a token comes again by itself, and its user has a terminal to look at meanwhile.
        if token is not None:
            raise
        return _failed(actor, error, is_new=token is None)


def _paced(place: ControlRequest | Upstream) -> ControlRequest | Upstream:
    """What this instance opens itself counts among what it is opening, until it is open or will not be."""
    if isinstance(place, Upstream):
        return place
    grant = take_grant(request.environ)
    if grant is None:
        return place

    def session() -> Session:
        try:
            return place.session()
        finally:
            grant.done()

    return replace(place, session=session)


def _failed(actor: Actor, error: NetstacksError, *, is_new: bool) -> ControlRequest:
    """A call without a session: its client is told why, and may ask for another one."""

    def session() -> Session:
        raise error

    another = partial(open_another, services(), actor.login_id)
    if isinstance(error, InvalidInput):
        resume = Resume(None, None, tail="offset" in request.args)
        return ControlRequest(actor, _ANY_SIZE, resume, session, another, is_new=is_new)
    size = parse_size()
    return ControlRequest(actor, size, parse_resume(), session, another, _wish(actor, size, Dialogue()), is_new=is_new)


def _find(actor: Actor, token: str | None) -> ControlRequest | Upstream:
    session_token, size, resume = _as_uuid("reconnect_token", token), parse_size(), parse_resume()
    if session_token is not None:
        place = services().broker.resume(session_token, actor, _upgrade())
        if isinstance(place, Upstream):
            return place
        if place is not None:
            return resumed(actor, place, _wish(actor, size, Dialogue()))
    check_open(services())
    left = greenlets.Event()
    dialogue = Dialogue(left.is_set)
    connect_request = _wish(actor, size, dialogue)
    return ControlRequest(
        actor,
        size,
        resume,
        partial(services().opener.open, connect_request),
        partial(open_another, services(), actor.login_id),
        connect_request,
        session_id=connect_request.session_id,
        dialogue=dialogue,
        left=left,
        is_new=True,
    )


def check_open(parts: Services) -> None:
    """Raises ComeAgain when this instance takes no new sessions."""
    if parts.agent.me.state != "active":
        secrets = " and ".join(parts.agent.differing_secrets)
        why = f", because its {secrets} differs from the cluster's" if secrets else " now"
        raise ComeAgain(f"this instance takes no new sessions{why}: connect again")


def resumed(
    actor: Actor, place: Session | PendingClaim, connect_request: ConnectRequest | None = None
) -> ControlRequest:
    """The request for a session that is here or is opened here; `connect_request` is for the next one after its end."""
    another = partial(open_another, services(), actor.login_id)
    confirm = partial(services().withdrawals.confirm, actor, "sessions.connect")
    asked = ControlRequest(actor, parse_size(), parse_resume(), waiting_for(place), another, connect_request, confirm)
    match place:
        case PendingClaim():
            return replace(asked, session_id=place.session_id, dialogue=place.dialogue)
        case Session():
            return replace(asked, session_id=place.id)


def open_another(parts: Services, login_id: UUID | None, connect_request: ConnectRequest) -> Session:
    """Opens a session on a connection that was authorised a while ago.

    Waits for its turn. Raises Forbidden when the user's role no longer allows that. Raises ComeAgain when this instance
    takes no new sessions, and when the log-in has ended or is not known: the client comes again with the access token
    it has then.
    """
    check_open(parts)
    if login_id is None:
        raise ComeAgain("this connection cannot open another session: connect again")
    grant = _wait_for_turn(parts, connect_request)
    try:
        return _open_another(parts, login_id, connect_request)
    finally:
        grant.done()


def _wait_for_turn(parts: Services, connect_request: ConnectRequest) -> Grant:
    assert connect_request.actor.id is not None
    dialogue = connect_request.dialogue

    def tell(place: int, wait_secs: float) -> None:
        dialogue.progress(f"many terminals are being opened: place {place}, {about(wait_secs)} (Ctrl-C cancels)")

    grant = parts.admission.wait(connect_request.actor.id, tell, lambda: dialogue.is_given_up)
    if grant is None or dialogue.is_given_up:
        if grant is not None:
            grant.done()
        dialogue.check()
        raise OpeningAbandoned("cancelled")
    dialogue.progress(None)
    return grant


def _open_another(parts: Services, login_id: UUID, connect_request: ConnectRequest) -> Session:
    with parts.routing_database.transaction() as tx:
        role = logins.role(tx, login_id, max_days=parts.settings.login_max_days)
    if role is None:
        raise ComeAgain("your log-in has ended: log in again")
    if not permissions.grants(role, "sessions.connect"):
        raise errors.Forbidden("you may not open terminals any more: an administrator can change that")
    return parts.opener.open(connect_request)


def waiting_for(place: Session | PendingClaim) -> Callable[[], Session]:
    """The session there, unless it has ended between the decision and the upgrade."""

    def session() -> Session:
        found = place.wait() if isinstance(place, PendingClaim) else place
        if not found.is_live:
            raise ComeAgain("the session has just moved or ended")
        return found

    return session


@sock.route("/ws/ssh", bp=blueprint, authorise=_authorise)
def ssh(ws: WebSocket, asked: ControlRequest) -> None:
    TerminalClient(ws, asked).run()


def _upgrade() -> Upgrade:
    """What the owner needs of this handshake: neither the user's token nor the reconnect token."""
    handed_on = {name: request.args[name] for name in ("cols", "rows", "epoch", "offset") if name in request.args}
    handed_on["login_id"] = str(guard.identity().login_id)
    environ = request.environ
    return Upgrade(
        request.headers["Sec-WebSocket-Key"], urlencode(handed_on), is_wanted=lambda: not has_hung_up(environ)
    )


def _wish(actor: Actor, size: tuple[int, int], dialogue: Dialogue) -> ConnectRequest:
    given = request.args
    cols, rows = size
    return ConnectRequest(
        actor=actor,
        credential_id=_uuid("credential_id"),
        target=given.get("session_id") or None,
        host=given.get("host") or None,
        port=_integer("port"),
        term=given.get("term") or "xterm-256color",
        cols=cols,
        rows=rows,
        dialogue=dialogue,
    )


def parse_size() -> tuple[int, int]:
    """The client's window, as the URL has it."""
    return frames.check_window(_integer("cols") or 80, _integer("rows") or 24)


def parse_login() -> UUID | None:
    """The log-in that the instance in front has checked, as its URL has it. One of the former version names none."""
    return _uuid("login_id")


def parse_resume() -> Resume:
    """Where the client goes on, as the URL has it."""
    tail = request.args.get("offset") == "tail"
    return Resume(_integer("epoch"), None if tail else _integer("offset"), tail)


def _integer(name: str) -> int | None:
    text = request.args.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput(f"{name}={text[:40]!r}: it must be a whole number")
    return int(text)


def _uuid(name: str) -> UUID | None:
    return _as_uuid(name, request.args.get(name))


def _as_uuid(name: str, text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidInput(f"{name}={text[:40]!r}: it must be a UUID") from error
