"""A user's terminal client: its errors, and the prompt for the next session."""

from dataclasses import replace

from netstacks.errors import (
    AccessWithdrawn,
    DeviceError,
    DeviceLoginRefused,
    HostKeyRejected,
    NetstacksError,
    OpeningAbandoned,
    RetryLater,
    SessionGone,
    StoreUnavailable,
)
from netstacks.instance.targets import ConnectRequest
from netstacks.store.access import WITHDRAWN
from netstacks.store.audit import Actor
from netstacks.terminal import frames
from netstacks.terminal.dialogue import notice_line
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.session import Session
from netstacks.web.ws.routes import WebSocket
from netstacks.web.ws.session_client import SessionClient

_ENTER = (b"\r", b"\n", b"\r\n")


class TerminalClient(SessionClient):
    """A client that speaks no offsets reconnects forever, whatever the close code (docs/protocol.md, 6.6).

    Hence its connection stays open when a session has ended for good, and Enter opens the next session. Our own page
    shows the end and offers a new session itself.
    """

    _opens_another = False
    """Whether Enter opens another session on this connection; else it makes the client reconnect to the same one."""

    def _refuse(self, error: NetstacksError) -> None:
        """Shows why there is no terminal. A final error keeps the connection open; after others the client retries."""
        if self._speaks_offsets or isinstance(error, AccessWithdrawn) or not self._is_final(error):
            refuse(self._ws, error)
            return
        if not self._request.is_new:
            # The client covers its terminal until SessionInfo arrives: without it the text below would be hidden.
            self._send_session_info()
        if isinstance(error, SessionGone):
            self._prompt_for_enter(
                f"Session ended: {str(error).removeprefix('the session has ended: ')}. Press Enter for a new one."
            )
        else:
            self._prompt_for_enter(
                f"Not connected: {error}. Press Enter to try again.", same_session=not self._request.is_new
            )

    def _is_final(self, error: NetstacksError) -> bool:
        """Whether a retry would fail again. Errors that concern a live session are retried."""
        if isinstance(error, StoreUnavailable | RetryLater):
            return False
        if self._request.is_new or not isinstance(error, DeviceError):
            return True
        return isinstance(error, DeviceLoginRefused | HostKeyRejected | OpeningAbandoned)

    def _stay(self, code: CloseCode, reason: str) -> bool:
        """Called when the session has ended and its output is sent: whether the connection stays open."""
        if self._speaks_offsets or code is not CloseCode.ENDED or reason == WITHDRAWN:
            return False
        session, self._session = self._session, None
        if session is not None:
            self._request = replace(
                self._request,
                connect_request=self._request.connect_request or _request_of(session, self._request.actor),
            )
            self._prompt_for_enter(f"Session ended: {reason}. Press Enter for a new one.")
        return True

    def _prompt_for_enter(self, text: str, *, same_session: bool = False) -> None:
        """Shows why there is no session, and waits for Enter, which opens another session or retries the same one."""
        self._opens_another = not same_session and self._request.connect_request is not None
        self._type = self._await_enter
        self.show(notice_line(text))

    def _await_enter(self, data: bytes) -> None:
        """Reacts to a single Enter only: the rest of a paste must not open another shell and run in it."""
        if data not in _ENTER:
            return
        request = self._request
        if request.connect_request is None or not self._opens_another:
            # Only the client has the parameters of its session: it reconnects with them.
            self._ws.close(CloseCode.RESTARTING, "connect again")
            return
        self._open_new(request.connect_request)


def refuse(ws: WebSocket, error: NetstacksError) -> None:
    """Sends the reason as an Error frame, and closes. The close code tells our own page whether to retry."""
    prefix = "" if isinstance(error, DeviceError) else "Not connected: "
    code = CloseCode.ENDED if isinstance(error, SessionGone | AccessWithdrawn) else CloseCode.REFUSED
    if isinstance(error, StoreUnavailable | RetryLater):
        code = CloseCode.RESTARTING
    ws.send(frames.error(f"{prefix}{error}"))
    ws.close(code, str(error))


def _request_of(session: Session, actor: Actor) -> ConnectRequest:
    """The request for a new session like this one."""
    facts = session.facts
    return ConnectRequest(
        actor,
        facts.credential_id,
        target=f"device-{facts.device_id}" if facts.device_id else None,
        host=None if facts.device_id else facts.host,
        port=None if facts.device_id else facts.port,
        term=facts.term,
        cols=session.cols,
        rows=session.rows,
    )
