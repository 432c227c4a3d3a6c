"""A viewer's connection, which this instance keeps open while the session changes its owner.

The real client's viewers never reconnect (docs/protocol.md, 7), so the socket must outlive the instance that owns the
session. This instance terminates the WebSocket; to another owner it is a WebSocket client itself.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.errors import InvalidInput, NetstacksError, RegistryUnavailable, RetryLater, StoreUnavailable
from netstacks.instance.broker import Broker
from netstacks.instance.finder import Held, SessionLocation
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
    """The session of a share link. `is_draining` tells whether this instance is draining."""

    session_id: UUID
    broker: Broker
    is_draining: Callable[[], bool]


class _View(Protocol):
    """The receiver of the viewer's input and pongs."""

    def type(self, data: bytes) -> None: ...
    def on_pong(self, payload: bytes) -> None: ...


class ViewerConnection:
    """The greenlet of `run` receives from the client; a second one follows the session from owner to owner."""

    def __init__(self, ws: WebSocket, shared: SharedSession, request: ViewerRequest, *, speaks_offsets: bool) -> None:
        self._ws = ws
        self._shared = shared
        self._request = request
        self._client = ViewerClient(ws, speaks_offsets=speaks_offsets)
        # Both belong to the current view; None and a no-op between two owners. `_leave` clears `_view` first, so that
        # no input is forwarded while the view ends.
        self._view: _View | None = None
        self._end_view: Callable[[], object] = _nothing
        # Never reset: once set, no new view begins, and further input is discarded.
        self._has_left = False

    def run(self) -> None:
        """Serves the viewer until it leaves, its share ends or the session ends."""
        self._ws.on_pong = self._on_pong
        greenlets.spawn("viewer-follower", self._follow)
        try:
            with relays.registered(None, self._restart):
                self._receive()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Ends the view, and discards all further input of the client."""
        self._has_left = True
        self._view = None
        self._end_view()

    def _restart(self) -> None:
        greenlets.spawn("viewer-restarting", self._ws.close, CloseCode.RESTARTING, _RESTARTING)

    # From the client.

    def _receive(self) -> None:
        watchdog = Watchdog(self._look)
        while True:
            message = self._ws.receive(timeout=watchdog.due_secs)
            watchdog.look_if_due()
            if self._has_left:
                continue  # The close is under way: discard input unparsed, it must cost nothing.
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
                    # Input is discarded while the session has no owner (docs/protocol.md, 6.6).
                    if self._view is not None:
                        watchdog.during(partial(self._view.type, payload))
                case frames.Ping() if isinstance(self._view, RemoteView):
                    # Forwarded: the answer must prove that the owner is reachable, not this instance.
                    self._view.ping()
                case frames.Ping():
                    self._ws.send(frames.PONG)
                case frames.Close():
                    return

    def _look(self, is_read: bool) -> None:
        """Ends the view if its share is over or its client is gone; else pings the client (docs/protocol.md, 7).

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
        """Whether the share is over. If so, the viewer is sent the reason and closed."""
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

    def _see(self, find: Callable[[UUID], SessionLocation]) -> None:
        """Shows the session at its current owner until that loses it, then shows that the session has no owner."""
        try:
            location = find(self._shared.session_id)
        except (RetryLater, StoreUnavailable, RegistryUnavailable):
            self._tell_waiting()
            return
        if self._has_left:
            return
        request = replace(self._request, returns=self._request.returns or self._client.has_joined)
        # After a refusal for now, `_follow` looks for the owner again.
        with contextlib.suppress(RetryLater):
            if isinstance(location, Held):
                self._relay(location, request)
            else:
                self._attend(session_at(location), request)
        if self._client.has_joined:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        if not self._has_left and not self._shared.is_draining():
            self._client.tell_waiting(
                self._shared.session_id, self._request.principal.permission, self._request.viewer_id
            )

    def _attend(self, session: Session, request: ViewerRequest) -> None:
        """A view of a session of this instance; returns when the session or the viewer has left."""
        over = greenlets.Event()

        def keep(code: CloseCode, _: str) -> bool:
            is_kept = code in LET_GO and not self._shared.is_draining()
            if is_kept:
                over.set()
            return is_kept

        view = viewing(
            self._client,
            request,
            session,
            self._client.resume,
            speaks_offsets=True,
            on_finish=keep,
            is_wanted=lambda: not self._has_left,
        )
        with view as viewer, self._viewing(viewer, over.set):
            # Checked again: a revocation before the view was registered could not end it.
            if not self._is_over():
                over.wait()

    def _relay(self, held: Held, request: ViewerRequest) -> None:
        """A view at another owner; returns when that has lost or released the session, or the viewer has left."""
        handshake = Handshake(query_of(request, self._client.resume))
        owner = OwnerSocket(self._shared.broker.proxy_viewer(held, request.principal, handshake.upgrade), handshake)
        view = RemoteView(owner, request.principal.permission)
        relay = relays.registered(held.owner, owner.hang_up)
        with contextlib.closing(owner), relay, self._viewing(view, owner.hang_up):
            end = view.pass_on(self._client)
            if end is not None and not self._has_left:
                self._ws.close(end.code, end.reason)
                raise ConnectionClosed(end.code, end.reason)

    @contextlib.contextmanager
    def _viewing(self, view: _View, end: Callable[[], object]) -> Iterator[None]:
        """Registers a view for the duration of the block. `end` makes the block return."""
        self._view, self._end_view = view, end
        try:
            if self._has_left:
                end()
            yield
        finally:
            self._view, self._end_view = None, _nothing


def _nothing() -> None:
    pass
