"""The waiting room in front of `/ws/ssh`, for clients in the admission queue.

Browsers open one WebSocket at a time to a host, and hide the reason of a refused upgrade. So the upgrade of a client
that must wait is accepted at once, the client is sent its place, and it is authorised when it is admitted. A client
needs a signed access token to be accepted, which is checked without a database. A waiting client costs a socket but no
greenlet.
"""

import json
import socket
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qs
from uuid import UUID

import structlog
from websockets.exceptions import InvalidHandshake

from netstacks import greenlets
from netstacks.cluster.balancing import Room
from netstacks.cluster.model import Instance
from netstacks.instance import metrics
from netstacks.instance.admission import MAX_WAITING, Grant
from netstacks.instance.applicants import about
from netstacks.terminal.frames import CloseCode
from netstacks.web.admission import tickets
from netstacks.web.admission.handing_on import PATH, QUEUED_AT, hand_on
from netstacks.web.admission.moved_clients import MovedClients
from netstacks.web.admission.waiting_client import WaitingClient, WaitingRequest
from netstacks.web.auth import guard
from netstacks.web.auth.parts import AuthParts
from netstacks.web.context import Services
from netstacks.web.listener.late_response import LateResponse
from netstacks.web.ws.grants import granted
from netstacks.web.ws.routes import ACCEPTED, OWNER_OVERDUE, Accepted, read_ahead, shake_hands

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()

# The duration and the interval of retries for a client whose session is changing owners.
_TRY_SECS, _PAUSE_SECS = 60.0, 1.0
# The pause between two clients. Thousands are accepted before the timeouts of their pages.
_BETWEEN_SECS = 0.001
RESTARTING = "the controller is restarting"
_FULL = "too many terminals are being opened"


class WaitingRoom:
    """WSGI middleware. A request that is admitted at once is passed on, with its grant in the environment.

    A client whose session's owner is overdue waits here for the owner or for the claim: with the growing pauses of its
    own retries it would miss the claim by half a minute.
    """

    def __init__(self, app: "WSGIApplication", services: Services, auth: AuthParts) -> None:
        self._app = app
        self._services = services
        self._auth = auth
        self._arrived: deque[tuple[WSGIEnvironment, socket.socket]] = deque()
        """Requests that have not been received. They are received one at a time, between other work."""
        self._arrival = greenlets.Event()
        # The clients in the admission queue. A client that is being served, or handed to a peer, is not in it.
        self._waiting: set[WaitingClient] = set()
        self._room = Room()
        self._moved = MovedClients(services, self._room)
        self.background = greenlets.Background("waiting-room", self._receive_all)

    def start(self) -> None:
        self.background.start()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH or not self._is_public(environ) or not self._is_open:
            return self._app(environ, start_response)
        if not self._arrived and not len(self._services.admission):
            query = _query(environ)
            token = _token(query)
            if self._is_here(token) or guard.signed_subject(environ, self._auth) is None:
                return self._app(environ, start_response)
            if not self._services.moves.is_away(token) and (grant := self._services.admission.try_now()):
                response = LateResponse()
                body = b"".join(self._begin(environ, response.start, grant))
                if OWNER_OVERDUE not in environ:
                    return response.pass_on(start_response, body)
        if len(self._arrived) >= MAX_WAITING:
            return _busy(start_response)
        environ[QUEUED_AT] = time.time_ns()
        # A duplicate: gunicorn closes its own descriptor when the request ends.
        self._arrived.append((environ, environ["gunicorn.socket"].dup()))
        self._arrival.set()
        return _leave_open()

    def _is_public(self, environ: "WSGIEnvironment") -> bool:
        sock = environ.get("gunicorn.socket")
        return sock is not None and sock.getsockname()[1] != self._services.peer_port

    @property
    def _is_open(self) -> bool:
        return self._services.agent.me.state == "active"

    def _is_here(self, token: UUID | None) -> bool:
        """Whether the session is here, or has ended here: such a request is cheap and need not wait."""
        hub = self._services.hub
        return token is not None and (hub.find_by_token(token) is not None or hub.ended(token) is not None)

    def _begin(self, environ: "WSGIEnvironment", start_response: "StartResponse", grant: Grant) -> Iterable[bytes]:
        with granted(environ, grant):
            return self._app(environ, start_response)

    def _receive_all(self) -> None:
        while True:
            self._arrival.wait()
            self._arrival.clear()
            while self._arrived:
                environ, sock = self._arrived.popleft()
                try:
                    self._receive(environ, sock)
                except Exception:
                    # A failure of one request must not stop the others.
                    log.exception("waiting_room.failed")
                    sock.close()
                # Let the listener accept other connections: a health check may be among them.
                greenlets.sleep(_BETWEEN_SECS)

    def _receive(self, environ: "WSGIEnvironment", sock: socket.socket) -> None:
        services, query = self._services, _query(environ)
        token = _token(query)
        subject = None if self._is_here(token) or not self._is_open else guard.signed_subject(environ, self._auth)
        try:
            answer = shake_hands(environ) if subject is not None else b""
        except InvalidHandshake:
            subject = None
        if subject is None:
            greenlets.spawn("not-admitted", self._pass_on, environ, sock)
            return
        since = tickets.since(services.tokens, subject.user_id, token, query.pop("ticket", ""))
        client = WaitingClient(
            environ,
            sock,
            WaitingRequest(subject, token, query, since),
            ticket=tickets.issue(services.tokens, subject.user_id, token, since),
            on_turn=self._on_turn,
            on_gone=self._waiting.discard,
            on_room=self._on_room,
        )
        is_away = services.moves.is_away(token)
        if not is_away and services.admission.is_full(subject.user_id):
            greenlets.spawn("refused", self._refuse, client)
            return
        client.unread += read_ahead(environ)
        client.send(answer)
        client.awaits_owner(environ.get(OWNER_OVERDUE))
        if is_away:
            greenlets.spawn("moved-away", self._move_away, client)
            return
        self._enter(client)
        self._show_place(client, len(services.admission))

    def _show_place(self, client: WaitingClient, place: int) -> None:
        client.show_place(place, self._services.admission.wait_secs(place))

    def _enter(self, client: WaitingClient) -> None:
        request = client.request
        self._waiting.add(client)
        client.place = self._services.admission.enter(
            client, request.subject.user_id, since=request.since, token=request.token, former=client.place
        )

    def _pass_on(self, environ: "WSGIEnvironment", sock: socket.socket) -> None:
        """Passes on a request that need not wait, or that the application will refuse."""
        environ["gunicorn.socket"] = sock
        with sock:
            response = LateResponse()
            try:
                body = b"".join(self._app(environ, response.start))
            except StopIteration:
                return
            response.send(sock, body)

    def _refuse(self, client: WaitingClient) -> None:
        admission = self._services.admission
        metrics.ADMISSION_REFUSED.inc()
        wait_secs = max(1, round(admission.wait_secs(len(admission))))
        body = {
            "error": f"Too many terminals are being opened. Connect again in {about(wait_secs)}.",
            "ticket": client.ticket,
            "place": len(admission),
            "wait_secs": wait_secs,
        }
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Retry-After", str(wait_secs))]
        with client.socket:
            client.socket.settimeout(None)
            LateResponse("503 Service Unavailable", headers).send(client.socket, json.dumps(body).encode())

    def _on_turn(self, client: WaitingClient, grant: Grant) -> None:
        self._waiting.discard(client)
        greenlets.spawn("admitted", self._serve, client, grant)

    def _serve(self, client: WaitingClient, grant: Grant) -> None:
        client.begin()
        response = LateResponse()
        environ = {**client.environ, "gunicorn.socket": client.socket, ACCEPTED: Accepted(bytes(client.unread))}
        environ.pop(OWNER_OVERDUE, None)
        client.socket.settimeout(None)
        try:
            body = b"".join(self._begin(environ, response.start, grant))
        except StopIteration:
            client.socket.close()
            return
        client.awaits_owner(environ.get(OWNER_OVERDUE))
        if response.code != 503 or not self._retry(client):
            client.refuse(response.code, body)

    def _retry(self, client: WaitingClient) -> bool:
        """Returns a client to the queue at its former place; False when its time for retries is over."""
        now = time.monotonic()
        client.tries_until = client.tries_until or now + _TRY_SECS
        if now > client.tries_until:
            return False
        client.socket.settimeout(0)
        # Also a sign of life: a proxy cuts a connection that is silent.
        self._show_place(client, 1)
        greenlets.sleep(_PAUSE_SECS)
        if not self._is_open:
            return False
        self._enter(client)
        return True

    def _on_room(self, client: WaitingClient) -> bool:
        """Hands a client that would wait long to another instance; False when none has capacity."""
        agent = self._services.agent
        ttl_secs = self._services.settings.ha_stale_instance_ttl_secs
        peer = self._room.reserve(agent.snapshot, agent.me.id, ttl_secs, time.monotonic())
        if peer is None:
            return False
        self._waiting.discard(client)
        greenlets.spawn("handed-on", self._ask_peer, client, peer)
        return True

    def _move_away(self, client: WaitingClient) -> None:
        """Hands on a client whose session was moved away from here; serves it here when no other instance takes it."""
        if self._moved.hand_on(client):
            return
        self._services.moves.forget(client.request.token)
        # It has not been counted in the queue yet.
        if self._services.admission.is_full(client.request.subject.user_id):
            metrics.ADMISSION_REFUSED.inc()
            client.close(CloseCode.RESTARTING, _FULL)
            return
        self._return(client)

    def _ask_peer(self, client: WaitingClient, peer: Instance) -> None:
        if hand_on(self._services, client, peer):
            return
        if not client.stays:
            self._room.declined(peer, time.monotonic())
        self._return(client)

    def _return(self, client: WaitingClient) -> None:
        if self._is_open:
            self._enter(client)
        else:
            client.close(CloseCode.RESTARTING, RESTARTING)

    def hang_up(self) -> None:
        """Closes all waiting clients at a drain; they reconnect to other instances. Returns at once."""
        # No yield in the loop: a client that leaves would change the set during the iteration.
        for client in self._waiting:
            if client.place is not None:
                self._services.admission.leave(client.place)
            client.close(CloseCode.RESTARTING, RESTARTING)
        self._waiting.clear()


def _busy(start_response: "StartResponse") -> Iterable[bytes]:
    metrics.ADMISSION_REFUSED.inc()
    body = b'{"error": "Too many connections at once. Connect again in a moment."}'
    headers = [("Content-Type", "application/json"), ("Retry-After", "5"), ("Content-Length", str(len(body)))]
    start_response("503 Service Unavailable", headers)
    return [body]


def _leave_open() -> NoReturn:
    """Ends the request without an answer: gunicorn closes its descriptor on StopIteration."""
    raise StopIteration


def _query(environ: "WSGIEnvironment") -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}


def _token(query: dict[str, str]) -> UUID | None:
    try:
        return UUID(query["reconnect_token"])
    except (KeyError, ValueError):
        return None
