"""A viewer's connection at the instance that it came to, held while the session changes its owner.

The real client's viewers never reconnect (wire contract 7), so the socket must outlive the instance that owns the
session. It ends at this instance; when the owner is another one, this instance is that one's WebSocket client.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import ComeAgain, InvalidInput, NetstacksError, RegistryUnavailable, StoreUnavailable
from netstacks.instance.broker import Broker
from netstacks.instance.finder import Held, Whereabouts
from netstacks.peer import relays
from netstacks.peer.owner_socket import Handshake, OwnerSocket
from netstacks.terminal import frames
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.session import Session
from netstacks.terminal.viewer import send_away
from netstacks.web.viewers.remote_view import LET_GO, RemoteView, query_of
from netstacks.web.viewers.viewer_client import ViewerClient
from netstacks.web.viewers.viewing import ViewerRequest, over_now, refuse, session_at, viewing
from netstacks.web.viewers.watchdog import Watchdog
from netstacks.web.ws.routes import ConnectionClosed, WebSocket

log = structlog.get_logger()

_RESTARTING = "the controller is restarting"


@dataclass(frozen=True)
class SharedSession:
    """What a viewer's link leads to. `is_draining` tells whether this instance is on its way out."""

    session_id: UUID
    broker: Broker
    is_draining: Callable[[], bool]


class _View(Protocol):
    """What the viewer's own messages go to."""

    def type(self, data: bytes) -> None: ...
    def on_pong(self, payload: bytes) -> None: ...


class ViewerConnection:
    """This greenlet receives from the client; a second one follows the session from owner to owner."""

    def __init__(self, ws: WebSocket, shared: SharedSession, asked: ViewerRequest, *, speaks_offsets: bool) -> None:
        self._ws = ws
        self._shared = shared
        self._request = asked
        self._client = ViewerClient(ws, speaks_offsets=speaks_offsets)
        self._view: _View | None = None
        self._end_view: Callable[[], object] = _nothing
        self._has_left = False

    def run(self) -> None:
        """Serves the viewer until it leaves, its share is over or the session ends."""
        self._ws.on_pong = self._on_pong
        greenlets.spawn("viewer-follower", self._follow)
        try:
            with relays.registered(None, self._restart):
                self._receive()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Nothing that the client still sends is typed from here on."""
        self._has_left = True
        self._view = None
        self._end_view()

    def _restart(self) -> None:
        greenlets.spawn("viewer-restarting", self._ws.close, CloseCode.RESTARTING, _RESTARTING)

    # From the client.

    def _receive(self) -> None:
        looks = Watchdog(self._look)
        while True:
            message = self._ws.receive(timeout=looks.due_secs)
            looks.look_if_due()
            if self._has_left:
                continue  # Sent away: what else it has sent means nothing, and must cost nothing.
            if message is None:
                continue
            self._client.heard()
            try:
                frame = frames.parse(message)
            except InvalidInput as error:
                self._send_away(f"the controller did not understand {error}")
                continue
            match frame:
                case frames.Data(payload):
                    # What is typed while the session has no owner is discarded (wire contract 6.6).
                    if self._view is not None:
                        looks.during(partial(self._view.type, payload))
                case frames.Ping() if isinstance(self._view, RemoteView):
                    # The owner answers: a viewer that types wants to know whether it is there.
                    self._view.ping()
                case frames.Ping():
                    self._ws.send(frames.PONG)
                case frames.Close():
                    return

    def _look(self, is_read: bool) -> None:
        """Ends a view whose share is over or whose client is gone, and pings the others (wire contract 7).

        Raises ConnectionClosed when the client is gone.
        """
        if self._client.is_dead(is_read=is_read):
            log.info(
                "viewer.half_open", session_id=str(self._shared.session_id), viewer_id=str(self._request.viewer_id)
            )
            self._ws.abort()
            raise ConnectionClosed(None, "")
        if not self._is_over():
            self._client.keep_alive()

    def _is_over(self) -> bool:
        """Whether the share is not valid any more, and the viewer was sent away for it."""
        reason = over_now(self._request)
        if reason is not None:
            self._send_away(reason)
        return reason is not None

    def _send_away(self, reason: str) -> None:
        if self._has_left:
            return
        self._leave()
        send_away(self._client, reason)

    def _on_pong(self, payload: bytes) -> None:
        self._client.heard()
        if payload and self._view is not None:
            self._view.on_pong(payload)

    # To the client.

    def _follow(self) -> None:
        try:
            self._see(self._shared.broker.finder.find)
            while not self._has_left:
                if self._shared.is_draining():
                    self._ws.close(CloseCode.RESTARTING, _RESTARTING)
                    return
                if not self._is_over():
                    self._see(self._shared.broker.finder.find_later)
        except ConnectionClosed:
            pass  # The receiving greenlet notices too.
        except NetstacksError as error:
            with contextlib.suppress(ConnectionClosed):
                refuse(self._ws, error)
        except Exception:
            log.exception("viewer.failed", session_id=str(self._shared.session_id))
            self._ws.close(CloseCode.INTERNAL_ERROR, "an unexpected error, logged by the server")

    def _see(self, find: Callable[[UUID], Whereabouts]) -> None:
        """Shows the session at one owner for as long as that has it, and tells that it has none."""
        try:
            place = find(self._shared.session_id)
        except (ComeAgain, StoreUnavailable, RegistryUnavailable):
            self._tell_waiting()
            return
        if self._has_left:
            return
        asked = replace(self._request, returns=self._request.returns or self._client.has_joined)
        # An owner that did not take the viewer now is looked for again.
        with contextlib.suppress(ComeAgain):
            if isinstance(place, Held):
                self._relay(place, asked)
            else:
                self._attend(session_at(place), asked)
        if self._client.has_joined:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        if not self._has_left and not self._shared.is_draining():
            self._client.tell_waiting(
                self._shared.session_id, self._request.principal.permission, self._request.viewer_id
            )

    def _attend(self, session: Session, asked: ViewerRequest) -> None:
        """A view of a session that is here; returns when it has gone from here, or the viewer has."""
        over = greenlets.Event()

        def keep(code: CloseCode, _: str) -> bool:
            is_kept = code in LET_GO and not self._shared.is_draining()
            if is_kept:
                over.set()
            return is_kept

        view = viewing(
            self._client,
            asked,
            session,
            self._client.resume,
            speaks_offsets=True,
            on_finish=keep,
            is_wanted=lambda: not self._has_left,
        )
        with view as viewer, self._viewing(viewer, over.set):
            # At once: a revocation while this viewer was on its way could not end it.
            if not self._is_over():
                over.wait()

    def _relay(self, held: Held, asked: ViewerRequest) -> None:
        """A view at another instance; returns when that has lost or let go the session, or the viewer has left."""
        handshake = Handshake(query_of(asked, self._client.resume))
        owner = OwnerSocket(self._shared.broker.visit(held, asked.principal, handshake.upgrade), handshake)
        view = RemoteView(owner, asked.principal.permission)
        relay = relays.registered(held.owner, owner.hang_up)
        with contextlib.closing(owner), relay, self._viewing(view, owner.hang_up):
            end = view.pass_on(self._client)
            if end is not None and not self._has_left:
                self._ws.close(end.code, end.reason)
                raise ConnectionClosed(end.code, end.reason)

    @contextlib.contextmanager
    def _viewing(self, view: _View, end: Callable[[], object]) -> Iterator[None]:
        """Around a view: `end` lets its block return."""
        self._view, self._end_view = view, end
        try:
            if self._has_left:
                end()
            yield
        finally:
            self._view, self._end_view = None, _nothing


def _nothing() -> None:
    pass
