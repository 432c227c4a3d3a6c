"""A user's terminal client: what it is told when there is no session, and how it gets the next one."""

from dataclasses import replace

from netstacks.errors import (
    AccessWithdrawn,
    ComeAgain,
    DeviceError,
    DeviceLoginRefused,
    HostKeyRejected,
    NetstacksError,
    OpeningAbandoned,
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
    """A client that speaks no offsets reconnects without end whatever it is told.

    Its connection is kept open when a session has ended for good, and Enter opens the next one. Our own page says and
    offers that itself.
    """

    _opens_another = False
    """Whether Enter opens another session here. Else the client connects anew, for the same one."""

    def _refuse(self, error: NetstacksError) -> None:
        """Tells a person why there is no terminal; the client stays for another try, or comes again by itself."""
        if self._speaks_offsets or isinstance(error, AccessWithdrawn) or not self._is_final(error):
            refuse(self._ws, error)
            return
        if not self._request.is_new:
            # It has a terminal already, with a cover over it that goes away when the connection counts as made.
            self._tell_session()
        if isinstance(error, SessionGone):
            self._hold(f"Session ended: {str(error).removeprefix('it has ended: ')}. Press Enter for a new one.")
        else:
            self._hold(f"Not connected: {error}. Press Enter to try again.", same_session=not self._request.is_new)

    def _is_final(self, error: NetstacksError) -> bool:
        """Whether trying again by itself would be in vain. A session that goes on is tried again while it may."""
        if isinstance(error, StoreUnavailable | ComeAgain):
            return False
        if self._request.is_new or not isinstance(error, DeviceError):
            return True
        return isinstance(error, DeviceLoginRefused | HostKeyRejected | OpeningAbandoned)

    def _stay(self, code: CloseCode, reason: str) -> bool:
        """Called when the session's rest has been sent: whether the connection stays open after its end."""
        if self._speaks_offsets or code is not CloseCode.ENDED or reason == WITHDRAWN:
            return False
        session, self._session = self._session, None
        if session is not None:
            self._request = replace(
                self._request,
                connect_request=self._request.connect_request or _request_of(session, self._request.actor),
            )
            self._hold(f"Session ended: {reason}. Press Enter for a new one.")
        return True

    def _hold(self, text: str, *, same_session: bool = False) -> None:
        """Says why there is no session, and waits for Enter: for another one, or for another try at the same."""
        self._opens_another = not same_session and self._request.connect_request is not None
        self._type = self._look_for_enter
        self.show(notice_line(text))

    def _look_for_enter(self, data: bytes) -> None:
        """Enter by itself: what is left of a paste must not open another shell, and end up in it."""
        if data not in _ENTER:
            return
        asked = self._request
        if asked.connect_request is None or not self._opens_another:
            # Its client connects anew, with what only it knows.
            self._ws.close(CloseCode.RESTARTING, "connect again")
            return
        self._open_new(asked.connect_request)


def refuse(ws: WebSocket, error: NetstacksError) -> None:
    """Tells a person why there is no terminal: the client shows the text, and the code tells ours not to retry."""
    prefix = "" if isinstance(error, DeviceError) else "Not connected: "
    code = CloseCode.ENDED if isinstance(error, SessionGone | AccessWithdrawn) else CloseCode.REFUSED
    if isinstance(error, StoreUnavailable | ComeAgain):
        code = CloseCode.RESTARTING
    ws.send(frames.error(f"{prefix}{error}"))
    ws.close(code, str(error))


def _request_of(session: Session, actor: Actor) -> ConnectRequest:
    """Another session like this one."""
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
