"""A client on one WebSocket, and one session on it after another."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import structlog

from netstacks import greenlets
from netstacks.errors import ComeAgain, InvalidInput, NetstacksError
from netstacks.instance.targets import ConnectRequest
from netstacks.instance.withdrawals import Withdrawal
from netstacks.store.access import WITHDRAWN
from netstacks.store.audit import Actor
from netstacks.terminal import frames
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.resume import Resume, Start, start
from netstacks.terminal.session import Session
from netstacks.terminal.size_question import SizeQuestion
from netstacks.web.ws import keepalive
from netstacks.web.ws.routes import ConnectionClosed, WebSocket

log = structlog.get_logger()

# The size that a client names which does not know its own yet (wire contract 6.1).
_UNKNOWN_SIZE = (80, 24)
RESTARTING = "the controller is restarting"
# Close codes of a client that was closed, rather than cut off: none was named, the page is gone, all is well.
_LEFT_CODES = (1000, 1001, 1005)


def _hold() -> None:
    """Nothing has been withdrawn."""


@dataclass(frozen=True)
class ControlRequest:
    """What a connection is for. `session` waits for its session and raises why there is none.

    `confirm` raises AccessWithdrawn when the user has no access any more; an opener has asked that for a new session.
    `connect_request` opens another session on the same connection; None when only the session can tell what that is.
    A session that `is_new` is given up when its client has left, which `left` tells.
    """

    actor: Actor
    size: tuple[int, int]
    resume: Resume
    session: Callable[[], Session]
    open_another: Callable[[ConnectRequest], Session]
    connect_request: ConnectRequest | None = None
    confirm: Callable[[], None] = _hold
    session_id: UUID = field(default_factory=uuid4)
    dialogue: Dialogue = field(default_factory=Dialogue)
    left: greenlets.Event = field(default_factory=greenlets.Event)
    is_new: bool = False


_clients: set["SessionClient"] = set()


def hang_up() -> None:
    """Closes the connections that have no session, at the beginning of a drain. The others end with their sessions.

    Returns at once.
    """
    # No yield here: the set would change meanwhile.
    for client in _clients:
        client.hang_up()


def close_withdrawn(withdrawal: Withdrawal) -> None:
    """Closes the connections without a session of a user, or of a log-in, that has lost access. Returns at once."""
    # No yield here: the set would change meanwhile.
    for client in _clients:
        client.close_withdrawn(withdrawal)


class SessionClient:
    """One connection: this greenlet receives, another one opens sessions, and the attachment sends."""

    _check_secs: float | None = None
    """After how long a silence `_may_stay` is asked; None is never."""

    def __init__(self, ws: WebSocket, asked: ControlRequest) -> None:
        self._ws = ws
        self._request = asked
        self._size = asked.size
        self._speaks_offsets = asked.resume.speaks_offsets
        self._session: Session | None = None
        self._is_opening = False
        self._attachment = self._new_attachment()
        # Where keys go: to the dialogue of the log-in, to the session, or to the question for another session.
        self._type: Callable[[bytes], None] = asked.dialogue.input
        self._sizes = SizeQuestion()
        self._knows_session = False
        self._has_said_goodbye = False

    def run(self) -> None:
        """Serves the client until it leaves."""
        _clients.add(self)
        keepalive.watch(self)
        try:
            self._begin()
            self._receive()
        finally:
            _clients.discard(self)
            keepalive.remove(self)
            self._request.left.set()
            self._request.dialogue.leave(self)
            if self._session is not None:
                was_left = self._has_said_goodbye or self._ws.close_code in _LEFT_CODES
                self._session.detach(self._attachment, was_left=was_left)
            self._let_go()

    def _let_go(self) -> None:
        """Gives up what calls it back: references in a circle stay in memory until the garbage collector runs."""
        self._attachment.let_go()
        self._type = _ignore

    def hang_up(self) -> None:
        """Closes the connection soon unless it has a session; its client comes again, to another instance."""
        if self._session is None:
            greenlets.spawn("client-hang-up", self._ws.close, CloseCode.RESTARTING, RESTARTING)

    def close_withdrawn(self, withdrawal: Withdrawal) -> None:
        """Closes the connection soon if that takes its access. With a session, or an opening, it ends with that."""
        actor = self._request.actor
        if self._session is not None or self._is_opening or actor.id != withdrawal.user_id:
            return
        if withdrawal.takes(actor.login_id):
            greenlets.spawn("client-withdrawn", self._ws.close, CloseCode.ENDED, WITHDRAWN)

    def _begin(self) -> None:
        # The client is read while the device is being logged in to: pings want answers, and a close gives up.
        greenlets.spawn("terminal-opener", self._open)

    # The client's side of the dialogue while a device is logged in to.

    def show(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
            self._ws.send(frames.notice(data) if self._speaks_offsets else frames.data(data))

    def expect_keys(self) -> None:
        if not self._speaks_offsets:
            self._tell_session()

    def _tell_session(self) -> None:
        """Without a session's name the client does not send its keys, but connects anew."""
        if not self._knows_session:
            self._knows_session = True
            with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
                self._ws.send(frames.session_info(session_id=str(self._request.session_id), credential_id=""))

    # PendingClaim.

    def _open(self) -> None:
        asked = self._request
        self._is_opening = True
        asked.dialogue.join(self)
        try:
            self._attach(asked.session())
        except ConnectionClosed:
            pass
        except NetstacksError as error:
            if not asked.left.is_set():
                asked.dialogue.show_words()
                asked.dialogue.progress(None)
                self._refuse(error)
        except Exception:
            log.exception("terminal.failed")
            self._ws.close(CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server")
        finally:
            self._is_opening = False
            asked.dialogue.leave(self)

    def _attach(self, session: Session) -> None:
        asked = self._request
        words_shown = asked.dialogue.words_shown if asked.is_new else 0
        # What the client has seen of the log-in is the beginning of the log.
        begin = Start(session.first_offset + words_shown) if words_shown else self._start(session)
        if not asked.is_new:
            asked.confirm()
        # No yield from here to `attach`: the client could leave, the session end, or access be withdrawn, unnoticed.
        if asked.left.is_set():
            if asked.is_new:
                session.end("its client left before it was open")
            return
        if not session.is_live:
            raise ComeAgain("the session has just moved or ended")
        self._session = session
        attachment = self._attachment
        attachment.queue(*self._introduction(session, begin.cursor))
        if begin.before:
            attachment.show(begin.before)
        if begin.between:
            attachment.show_at(begin.between_at, begin.between)
        is_same_size = self._size == (session.cols, session.rows)
        question = self._size_question() if asked.is_new and not self._speaks_offsets else b""
        if question:
            attachment.show(question)
        session.attach(attachment, begin.cursor, self._size)
        self._type = self._type_into_session
        if not self._speaks_offsets and not asked.is_new and not begin.between and is_same_size:
            session.have_redrawn(attachment)

    def _start(self, session: Session) -> Start:
        asked = self._request
        # A new session whose client has left is still to be ended.
        return start(session, asked.resume, self._size, lambda: asked.is_new or not asked.left.is_set())

    def _size_question(self) -> bytes:
        """What makes the terminal tell its size; empty when the client knew it."""
        if self._size != _UNKNOWN_SIZE:
            return b""
        return self._sizes.ask()

    def _introduction(self, session: Session, cursor: int) -> list[bytes]:
        info = frames.session_info(
            session_id=str(session.id),
            credential_id=str(session.facts.credential_id),
            epoch=session.facts.epoch,
            offset=cursor,
        )
        token = frames.reconnect(session.facts.token)
        # A client that is told twice says twice that it is connected.
        return [token] if self._knows_session else [info, token]

    def _new_attachment(self) -> Attachment:
        attachment = Attachment(
            self._ws,
            Kind.CONTROL,
            user_id=self._request.actor.id,
            username=self._request.actor.name,
            login_id=self._request.actor.login_id,
            speaks_offsets=self._speaks_offsets,
        )
        attachment.on_finish = self._stay
        self._ws.on_pong = attachment.on_pong
        return attachment

    def _refuse(self, error: NetstacksError) -> None:
        """Called when there is no session, with the reason."""
        raise NotImplementedError

    def _stay(self, code: CloseCode, reason: str) -> bool:
        """Called when the session's rest has been sent: whether the connection stays open after its end."""
        raise NotImplementedError

    def _open_new(self, like: ConnectRequest) -> None:
        """Opens a session on this connection, which has none now."""
        asked = self._request
        dialogue = Dialogue(asked.left.is_set)
        cols, rows = self._size
        connect_request = replace(like, dialogue=dialogue, session_id=uuid4(), cols=cols, rows=rows)
        self._request = replace(
            asked,
            connect_request=connect_request,
            session_id=connect_request.session_id,
            dialogue=dialogue,
            resume=Resume(None, None, tail=False),
            session=lambda: asked.open_another(connect_request),
            is_new=True,
        )
        self._type = dialogue.input
        self._knows_session = False
        self._attachment = self._new_attachment()
        greenlets.spawn("terminal-opener", self._open)

    # Receiving.

    def _receive(self) -> None:
        while True:
            try:
                message = self._ws.receive(timeout=self._check_secs)
                if message is None:
                    if not self._may_stay():
                        return
                    continue
                self._attachment.heard()
                try:
                    if not self._handle(frames.parse(message)):
                        return
                except InvalidInput as error:
                    self._ws.send(frames.error(f"The controller did not understand {error}"))
            except ConnectionClosed:
                return

    def _may_stay(self) -> bool:
        """Asked when the client has been silent for _check_secs."""
        return True

    def look(self) -> None:
        """Pings a silent client when that is due, and cuts off one that is gone. Never waits."""
        if self._attachment.is_dead():
            log.info("terminal.half_open", username=self._request.actor.name)
            self._ws.abort()
        else:
            with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
                self._attachment.keep_alive()

    def _handle(self, frame: frames.ClientFrame) -> bool:
        """Does what a frame asks for; False when the client takes its leave."""
        match frame:
            case frames.Data(payload):
                self._take_keys(payload)
            case frames.Resize(cols, rows):
                self._resize(cols, rows)
            case frames.Ping():
                self._ws.send(frames.PONG)
            case frames.Close():
                self._has_said_goodbye = True
                self._ws.close(CloseCode.NORMAL)
                return False
            case frames.Pong():
                pass
        return True

    def _type_into_session(self, data: bytes) -> None:
        if self._session is not None:
            self._session.input(self._attachment, data)

    def _take_keys(self, data: bytes) -> None:
        keys, size = self._sizes.take(data)
        if size is not None:
            with contextlib.suppress(InvalidInput):  # A terminal without a size, such as a script's.
                self._resize(*frames.check_window(*size))
        if keys:
            self._type(keys)

    def _resize(self, cols: int, rows: int) -> None:
        self._size = (cols, rows)
        if self._session is not None:
            self._session.resize(self._attachment, cols, rows)


def _ignore(data: bytes) -> None:
    pass
