"""One WebSocket of a user's client, which shows one session after another."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import structlog

from netstacks import greenlets, tracing
from netstacks.errors import InvalidInput, NetstacksError, RetryLater
from netstacks.instance.targets import ConnectRequest
from netstacks.instance.withdrawals import Withdrawal
from netstacks.store.access import WITHDRAWN
from netstacks.terminal import frames
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.forced_redraw import force_redraw
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.resume import Resume, Start, start
from netstacks.terminal.session import Session
from netstacks.terminal.size_question import SizeQuestion
from netstacks.web.ws import keepalive, open_clients
from netstacks.web.ws.control_request import ControlRequest
from netstacks.web.ws.routes import ConnectionClosed, WebSocket

log = structlog.get_logger()

# The size that a client sends before it knows its own (docs/protocol.md, 6.1).
_UNKNOWN_SIZE = (80, 24)
RESTARTING = "the controller is restarting"
# Close codes of a client that left on purpose, rather than lost its connection: normal, page closed, no code.
_LEFT_CODES = (1000, 1001, 1005)


class SessionClient:
    """One connection: the greenlet of `run` receives, another one opens sessions, and the attachment sends."""

    _check_secs: float | None = None
    """The silence, in seconds, after which `_may_stay` is called; None for never."""

    def __init__(self, ws: WebSocket, request: ControlRequest) -> None:
        self._ws = ws
        self._request = request
        self._size = request.size
        self._speaks_offsets = request.resume.speaks_offsets
        # A session that is set closes the connection when it ends. Without one a drain closes the connection, and a
        # withdrawal of access does so unless a session is being opened (open_clients).
        self._session: Session | None = None
        self._is_opening = False
        self._attachment = self._new_attachment()
        # The receiver of keys: the dialogue of the log-in, the session, or the prompt for another session.
        self._type: Callable[[bytes], None] = request.dialogue.input
        self._sizes = SizeQuestion()
        self._has_session_info = False
        self._has_closed = False

    def run(self) -> None:
        """Serves the client until it leaves."""
        open_clients.add(self)
        keepalive.watch(self)
        try:
            self._begin()
            self._receive()
        finally:
            open_clients.discard(self)
            keepalive.remove(self)
            self._request.left.set()
            self._request.dialogue.leave(self)
            if self._session is not None:
                was_left = self._has_closed or self._ws.close_code in _LEFT_CODES
                self._session.detach(self._attachment, was_left=was_left)
            self._let_go()

    def _let_go(self) -> None:
        """Drops callbacks to itself: reference cycles stay in memory until the garbage collector runs."""
        self._attachment.release()
        self._type = _ignore

    def hang_up(self) -> None:
        """Closes the connection soon unless it has a session; its client reconnects to another instance."""
        if self._session is None:
            greenlets.spawn("client-hang-up", self._ws.close, CloseCode.RESTARTING, RESTARTING)

    def close_withdrawn(self, withdrawal: Withdrawal) -> None:
        """Closes the connection soon if its access is withdrawn. One with a session, or an opening, ends with that."""
        actor = self._request.actor
        if self._session is not None or self._is_opening or actor.id != withdrawal.user_id:
            return
        if withdrawal.takes(actor.login_id):
            greenlets.spawn("client-withdrawn", self._ws.close, CloseCode.ENDED, WITHDRAWN)

    def _begin(self) -> None:
        # In a greenlet of its own: meanwhile `_receive` answers pings, and a close abandons the opening.
        greenlets.spawn("terminal-opener", tracing.carried(self._open))

    # The client's side of the dialogue during the log-in to a device.

    def show(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
            self._ws.send(frames.notice(data) if self._speaks_offsets else frames.data(data))

    def expect_keys(self) -> None:
        if not self._speaks_offsets:
            self._send_session_info()

    def _send_session_info(self) -> None:
        """Sends the session's id. Until it has one, the client sends no keys but reconnects (docs/protocol.md, 6)."""
        if not self._has_session_info:
            self._has_session_info = True
            with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
                self._ws.send(frames.session_info(session_id=str(self._request.session_id), credential_id=""))

    # Opening.

    def _open(self) -> None:
        request = self._request
        self._is_opening = True
        request.dialogue.join(self)
        try:
            self._attach(request.session())
        except ConnectionClosed:
            pass
        except NetstacksError as error:
            if not request.left.is_set():
                request.dialogue.show_words()
                request.dialogue.progress(None)
                self._refuse(error)
        except Exception:
            log.exception("terminal.failed")
            self._ws.close(CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server")
        finally:
            self._is_opening = False
            request.dialogue.leave(self)

    def _attach(self, session: Session) -> None:
        request = self._request
        words_shown = request.dialogue.words_shown if request.is_new else 0
        # The output log begins with the words of the log-in that the client has seen already.
        begin = Start(session.first_offset + words_shown) if words_shown else self._start(session)
        if not request.is_new:
            request.confirm()
        # No yield from here to `attach`: the client could leave, the session end, or access be withdrawn, unnoticed.
        if request.left.is_set():
            if request.is_new:
                session.end("its client left before it was open")
            return
        if not session.is_live:
            raise RetryLater("the session has just moved or ended")
        self._session = session
        attachment = self._attachment
        attachment.queue(*self._introduction(session, begin.cursor))
        if begin.before:
            attachment.show(begin.before)
        if begin.between:
            attachment.show_at(begin.between_at, begin.between)
        is_same_size = self._size == (session.cols, session.rows)
        question = self._size_question() if request.is_new and not self._speaks_offsets else b""
        if question:
            attachment.show(question)
        session.attach(attachment, begin.cursor, self._size)
        self._type = self._type_into_session
        if not self._speaks_offsets and not request.is_new and not begin.between and is_same_size:
            force_redraw(session, attachment)

    def _start(self, session: Session) -> Start:
        request = self._request
        # A new session is waited for even if its client has left: it must be ended.
        return start(session, request.resume, self._size, lambda: request.is_new or not request.left.is_set())

    def _size_question(self) -> bytes:
        """The escape sequence that makes the terminal report its size; empty when the client has sent its size."""
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
        # A client that receives SessionInfo twice shows twice that it is connected.
        return [token] if self._has_session_info else [info, token]

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
        """Called with the reason why there is no session."""
        raise NotImplementedError

    def _stay(self, code: CloseCode, reason: str) -> bool:
        """Called when the session has ended and its output is sent: whether the connection stays open."""
        raise NotImplementedError

    def _open_new(self, like: ConnectRequest) -> None:
        """Opens a session on this connection, which must have none."""
        request = self._request
        dialogue = Dialogue(request.left.is_set)
        cols, rows = self._size
        connect_request = replace(like, dialogue=dialogue, session_id=uuid4(), cols=cols, rows=rows)
        self._request = replace(
            request,
            connect_request=connect_request,
            session_id=connect_request.session_id,
            dialogue=dialogue,
            resume=Resume(None, None, tail=False),
            session=lambda: request.open_another(connect_request),
            is_new=True,
        )
        self._type = dialogue.input
        self._has_session_info = False
        self._attachment = self._new_attachment()
        greenlets.spawn("terminal-opener", tracing.carried(self._open))

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
        """Whether the connection may go on; called when the client has been silent for _check_secs."""
        return True

    def look(self) -> None:
        """Shows the client that this instance lives, and pings it when it is silent; aborts a dead one. Never waits."""
        if self._attachment.is_dead():
            log.info("terminal.half_open", username=self._request.actor.name)
            self._ws.abort()
        else:
            with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
                self._attachment.keep_alive()
            self._ws.beat()

    def _handle(self, frame: frames.ClientFrame) -> bool:
        """Handles a frame; False when the client leaves."""
        match frame:
            case frames.Data(payload):
                self._take_keys(payload)
            case frames.Resize(cols, rows):
                self._resize(cols, rows)
            case frames.Ping():
                self._ws.send(frames.PONG)
            case frames.Close():
                self._has_closed = True
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
            with contextlib.suppress(InvalidInput):  # A terminal without a size: a script.
                self._resize(*frames.check_window(*size))
        if keys:
            self._type(keys)

    def _resize(self, cols: int, rows: int) -> None:
        self._size = (cols, rows)
        if self._session is not None:
            self._session.resize(self._attachment, cols, rows)


def _ignore(data: bytes) -> None:
    pass
