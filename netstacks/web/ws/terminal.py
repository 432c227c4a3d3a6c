"""`/ws/ssh`: the terminal of a session's own user (docs/protocol.md, 6)."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from urllib.parse import urlencode
from uuid import UUID

from flask import Blueprint, request
from werkzeug.exceptions import Forbidden

from netstacks import errors, greenlets
from netstacks.errors import (
    AccessWithdrawn,
    InvalidInput,
    NetstacksError,
    OpeningAbandoned,
    OwnerOverdue,
    RetryLater,
    SessionGone,
)
from netstacks.instance.admission import Grant
from netstacks.instance.applicants import about
from netstacks.instance.pending_claims import PendingClaim
from netstacks.instance.targets import ConnectRequest
from netstacks.peer.client import Upgrade, Upstream
from netstacks.store import logins, second_factors
from netstacks.store.audit import Actor
from netstacks.store.setting_definitions import SECOND_FACTOR
from netstacks.terminal import frames
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session
from netstacks.web.auth import enforcement, guard, origins
from netstacks.web.context import Services, services
from netstacks.web.http.hang_up import has_hung_up
from netstacks.web.ws.control_request import ControlRequest
from netstacks.web.ws.grants import take_grant
from netstacks.web.ws.routes import OWNER_OVERDUE, Sock, WebSocket
from netstacks.web.ws.terminal_client import TerminalClient

blueprint = Blueprint("terminal", __name__)
sock = Sock()

_ANY_SIZE = (80, 24)


def _authorise() -> ControlRequest | Upstream:
    """All checks before the upgrade: origin, user, permission, and the instance that serves the connection."""
    origins.check()
    return authorise(guard.actor(), request.args.get("reconnect_token"))


def authorise(actor: Actor, token: str | None) -> ControlRequest | Upstream:
    """Resumes the session of the reconnect `token`, or prepares a new one. Raises Forbidden and RetryLater."""
    if not guard.identity().may("sessions.connect"):
        raise Forbidden("Your role may not open terminals. An administrator can give you the role operator.")
    try:
        return _paced(_find(actor, token))
    except (AccessWithdrawn, InvalidInput, SessionGone) as error:
        # Browsers hide the body of a refused upgrade. The upgrade is accepted, and an Error frame has the reason.
        return _failed(actor, error, is_new=token is None)
    except RetryLater as error:
        # A client with a token retries a refused upgrade by itself, and its user still sees the terminal.
        if token is not None:
            if isinstance(error, OwnerOverdue):
                request.environ[OWNER_OVERDUE] = error.secs
            raise
        return _failed(actor, error, is_new=token is None)


def _paced(target: ControlRequest | Upstream) -> ControlRequest | Upstream:
    """Releases the admission grant of this request when its session is open or has failed to open."""
    if isinstance(target, Upstream):
        return target
    grant = take_grant(request.environ)
    if grant is None:
        return target

    def session() -> Session:
        try:
            return target.session()
        finally:
            grant.done()

    return replace(target, session=session)


def _failed(actor: Actor, error: NetstacksError, *, is_new: bool) -> ControlRequest:
    """A request without a session: its client receives the error, and may open another session."""

    def session() -> Session:
        raise error

    another = partial(open_another, services(), actor.login_id)
    if isinstance(error, InvalidInput):
        resume = Resume(None, None, tail="offset" in request.args)
        return ControlRequest(actor, _ANY_SIZE, resume, session, another, is_new=is_new)
    size = parse_size()
    return ControlRequest(
        actor, size, parse_resume(), session, another, _connect_request(actor, size, Dialogue()), is_new=is_new
    )


def _find(actor: Actor, token: str | None) -> ControlRequest | Upstream:
    session_token, size, resume = _as_uuid("reconnect_token", token), parse_size(), parse_resume()
    if session_token is not None:
        location = services().broker.resume(session_token, actor, _upgrade())
        if isinstance(location, Upstream):
            return location
        if location is not None:
            return resumed(actor, location, _connect_request(actor, size, Dialogue()))
    check_open(services())
    left = greenlets.Event()
    dialogue = Dialogue(left.is_set)
    connect_request = _connect_request(actor, size, dialogue)
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
    """Raises RetryLater when this instance takes no new sessions."""
    if parts.agent.me.state != "active":
        secrets = " and ".join(parts.agent.differing_secrets)
        why = f", because its {secrets} differs from the cluster's" if secrets else " now"
        raise RetryLater(f"this instance takes no new sessions{why}: connect again")


def resumed(
    actor: Actor, location: Session | PendingClaim, connect_request: ConnectRequest | None = None
) -> ControlRequest:
    """The request for a session of this instance; `connect_request` opens the next session after its end."""
    another = partial(open_another, services(), actor.login_id)
    session_id = location.session_id if isinstance(location, PendingClaim) else location.id
    confirm = partial(services().withdrawals.confirm, actor, "sessions.connect", session_id)
    control_request = ControlRequest(
        actor, parse_size(), parse_resume(), waiting_for(location), another, connect_request, confirm
    )
    match location:
        case PendingClaim():
            return replace(control_request, session_id=location.session_id, dialogue=location.dialogue)
        case Session():
            return replace(control_request, session_id=location.id)


def open_another(parts: Services, login_id: UUID | None, connect_request: ConnectRequest) -> Session:
    """Opens a session on a connection that was authorised earlier, after a wait in the admission queue.

    Raises Forbidden when the user's role does not allow it any more, or a second factor must be set up first. Raises
    RetryLater when this instance takes no new sessions, and when the log-in has ended or is unknown: the client then
    reconnects with its current access token.
    """
    check_open(parts)
    if login_id is None:
        raise RetryLater("this connection cannot open another session: connect again")
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
        has_no_factor = second_factors.must_set_up(tx, login_id)
    if role is None:
        raise RetryLater("your log-in has ended: log in again")
    if not role.may("sessions.connect"):
        raise errors.Forbidden("you may not open terminals any more: an administrator can change that")
    if has_no_factor and enforcement.concerns(role, parts.system_settings.get(SECOND_FACTOR)):
        raise errors.Forbidden(enforcement.REQUIRED)
    return parts.opener.open(connect_request)


def waiting_for(location: Session | PendingClaim) -> Callable[[], Session]:
    """Waits for the session at `location`. Raises RetryLater if it has ended between the decision and the upgrade."""

    def session() -> Session:
        found = location.wait() if isinstance(location, PendingClaim) else location
        if not found.is_live:
            raise RetryLater("the session has just moved or ended")
        return found

    return session


@sock.route("/ws/ssh", bp=blueprint, authorise=_authorise)
def ssh(ws: WebSocket, control_request: ControlRequest) -> None:
    TerminalClient(ws, control_request).run()


def _upgrade() -> Upgrade:
    """The part of this handshake that the owner needs: without the user's token and the reconnect token."""
    forwarded = {name: request.args[name] for name in ("cols", "rows", "epoch", "offset") if name in request.args}
    forwarded["login_id"] = str(guard.identity().login_id)
    environ = request.environ
    return Upgrade(
        request.headers["Sec-WebSocket-Key"], urlencode(forwarded), is_wanted=lambda: not has_hung_up(environ)
    )


def _connect_request(actor: Actor, size: tuple[int, int], dialogue: Dialogue) -> ConnectRequest:
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
    """The size of the client's window, from the URL: columns and rows. Raises InvalidInput."""
    return frames.check_window(_integer("cols") or 80, _integer("rows") or 24)


def parse_login() -> UUID | None:
    """The log-in that the forwarding instance has checked, from the URL; None from one of the former version."""
    return _uuid("login_id")


def parse_resume() -> Resume:
    """The position at which the client resumes, from the URL. Raises InvalidInput."""
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
