"""`/ws/ssh`: the user's own terminal (wire contract 6), one WebSocket to one session."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlencode
from uuid import UUID

import structlog
from flask import Blueprint, request
from werkzeug.exceptions import Forbidden

from netstacks import greenlets
from netstacks.errors import (
    ComeAgain,
    DeviceError,
    InvalidInput,
    NetstacksError,
    SessionGone,
    StoreUnavailable,
)
from netstacks.instance.openings import Opening
from netstacks.instance.targets import Wish
from netstacks.peer.client import Upgrade, Upstream
from netstacks.store.audit import Actor
from netstacks.terminal import frames
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.resume import Resume, start
from netstacks.terminal.session import Session
from netstacks.web import auth
from netstacks.web.context import services
from netstacks.web.sockets import ConnectionClosed, Sock, WebSocket

log = structlog.get_logger()

blueprint = Blueprint("terminal", __name__)
sock = Sock()

# How often a silent client is looked at.
_LOOK_SECS = 10.0


@dataclass(frozen=True)
class Call:
    """A connection that may be made; `session` waits for its session and raises why there is none.

    `left` is set when the client has left. A session that `is_new` is of no use to anybody then.
    """

    actor: Actor
    size: tuple[int, int]
    resume: Resume
    session: Callable[[], Session]
    left: greenlets.Event = field(default_factory=greenlets.Event)
    is_new: bool = False


def _authorise() -> Call | Upstream | NetstacksError:
    """Everything that is decided before the upgrade: who it is, from where, what they may do, and who serves them."""
    auth.check_origin()
    if not auth.identity().may("sessions.connect"):
        raise Forbidden("your role may not open terminals: an administrator can give you the role operator")
    try:
        return _find(auth.actor())
    except (InvalidInput, SessionGone) as error:
        # For a person to read: the upgrade is accepted all the same (wire contract 6.6).
        return error
    except ComeAgain as error:
        # A client with a token comes again by itself, and its user has a terminal to look at meanwhile.
        if "reconnect_token" in request.args:
            raise
        return error


def _find(actor: Actor) -> Call | Upstream:
    token, size, resume = _uuid("reconnect_token"), parse_size(), parse_resume()
    if token is not None:
        place = services().broker.resume(token, actor, _upgrade())
        if isinstance(place, Upstream):
            return place
        if place is not None:
            return Call(actor, size, resume, waiting_for(place))
    if services().agent.me.state != "active":
        secrets = " and ".join(services().agent.differing_secrets)
        why = f", because its {secrets} differs from the cluster's" if secrets else " now"
        raise ComeAgain(f"this instance takes no new sessions{why}: connect again")
    left = greenlets.Event()
    wish = _wish(actor, size, left.is_set)
    return Call(actor, size, resume, partial(services().opener.open, wish), left, is_new=True)


def waiting_for(place: Session | Opening) -> Callable[[], Session]:
    """The session there, unless it has ended between the decision and the upgrade."""

    def session() -> Session:
        found = place.wait() if isinstance(place, Opening) else place
        if not found.is_live:
            raise ComeAgain("the session has just moved or ended")
        return found

    return session


@sock.route("/ws/ssh", bp=blueprint, authorise=_authorise)
def ssh(ws: WebSocket, call: Call | NetstacksError) -> None:
    if isinstance(call, NetstacksError):
        _refuse(ws, call)
    else:
        Terminal(ws, call).run()


def _upgrade() -> Upgrade:
    """What the owner needs of this handshake: neither the user's token nor the reconnect token."""
    handed_on = {name: request.args[name] for name in ("cols", "rows", "epoch", "offset") if name in request.args}
    return Upgrade(request.headers["Sec-WebSocket-Key"], urlencode(handed_on))


def _wish(actor: Actor, size: tuple[int, int], is_abandoned: Callable[[], bool]) -> Wish:
    given = request.args
    cols, rows = size
    return Wish(
        actor=actor,
        credential_id=_uuid("credential_id"),
        target=given.get("session_id") or None,
        host=given.get("host") or None,
        port=_integer("port"),
        term=given.get("term") or "xterm-256color",
        cols=cols,
        rows=rows,
        is_abandoned=is_abandoned,
    )


def parse_size() -> tuple[int, int]:
    """The client's window, as the URL has it."""
    return frames.check_window(_integer("cols") or 80, _integer("rows") or 24)


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
    text = request.args.get(name)
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidInput(f"{name}={text[:40]!r}: it must be a UUID") from error


def _refuse(ws: WebSocket, error: NetstacksError) -> None:
    """Tells a person why there is no terminal: the client shows the text, and the code tells ours not to retry."""
    prefix = "" if isinstance(error, DeviceError) else "Not connected: "
    code = CloseCode.ENDED if isinstance(error, SessionGone) else CloseCode.REFUSED
    if isinstance(error, StoreUnavailable | ComeAgain):
        code = CloseCode.RESTARTING
    ws.send(frames.error(f"{prefix}{error}"))
    ws.close(code, str(error))


def _next_look_secs() -> float:
    """Those who look, look together once a second: waking the process up costs more than what one of them does then."""
    now = time.monotonic()
    return math.ceil(now + _LOOK_SECS) - now


class Terminal:
    """One connection: this greenlet receives, a second one opens the session, and the attachment sends."""

    def __init__(self, ws: WebSocket, call: Call) -> None:
        self._ws = ws
        self._call = call
        self._size = call.size
        self._session: Session | None = None
        self._attachment = Attachment(
            ws,
            Kind.CONTROL,
            user_id=call.actor.id,
            username=call.actor.name,
            speaks_offsets=call.resume.speaks_offsets,
        )

    def run(self) -> None:
        # Read while the device is being logged in to: pings want answers, and a close gives up.
        greenlets.spawn("terminal-opener", self._open)
        self._ws.on_pong = self._attachment.on_pong
        try:
            self._receive()
        finally:
            self._call.left.set()
            if self._session is not None:
                self._session.detach(self._attachment)

    def _open(self) -> None:
        try:
            try:
                self._attach(self._call.session())
            except NetstacksError as error:
                if not self._call.left.is_set():
                    _refuse(self._ws, error)
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("terminal.failed")
            self._ws.close(CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server")

    def _attach(self, session: Session) -> None:
        begin = start(session, self._call.resume, self._size)
        # No yield from here to `attach`: the client could leave, or the session end, unnoticed.
        if self._call.left.is_set():
            if self._call.is_new:
                session.end("its client left before it was open")
            return
        if not session.is_live:
            raise ComeAgain("the session has just moved or ended")
        self._session = session
        attachment = self._attachment
        attachment.queue(
            frames.session_info(
                session_id=str(session.id),
                credential_id=str(session.facts.credential_id),
                epoch=session.facts.epoch,
                offset=begin.cursor,
            ),
            frames.reconnect(session.facts.token),
        )
        if begin.before:
            attachment.show(begin.before)
        if begin.between:
            attachment.show_at(begin.between_at, begin.between)
        session.attach(attachment, begin.cursor, self._size)

    def _receive(self) -> None:
        while True:
            try:
                message = self._ws.receive(timeout=_next_look_secs())
            except ConnectionClosed:
                return
            if message is None:
                if self._attachment.is_dead():
                    log.info("terminal.half_open", username=self._call.actor.name)
                    self._ws.abort()
                    return
                self._attachment.keep_alive()
                continue
            self._attachment.heard()
            try:
                if not self._handle(frames.parse(message)):
                    return
            except InvalidInput as error:
                self._ws.send(frames.error(f"The controller did not understand {error}"))
            except ConnectionClosed:
                return

    def _handle(self, frame: frames.ClientFrame) -> bool:
        """Does what a frame asks for; False when the client takes its leave."""
        match frame:
            case frames.Data(payload):
                if self._session is not None:
                    self._session.input(self._attachment, payload)
            case frames.Resize(cols, rows):
                self._size = (cols, rows)
                if self._session is not None:
                    self._session.resize(self._attachment, cols, rows)
            case frames.Ping():
                self._ws.send(frames.PONG)
            case frames.Close():
                self._ws.close(CloseCode.NORMAL)
                return False
            case frames.Pong():
                pass
        return True
