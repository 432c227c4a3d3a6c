"""The client of private listeners: forwards upgrades to the owner of a session, and sends requests to peers."""

import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, parse_headers
from io import BytesIO
from typing import Any

import structlog

from netstacks import greenlets, tracing
from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Outcome
from netstacks.errors import PeerFailed
from netstacks.peer.clocks import PeerClocks
from netstacks.peer.token import Claims, PeerTokens

log = structlog.get_logger()

CONNECT_SECS = 2.0
ANSWER_SECS = 3.0
# The id of the instance that answers: a peer address may belong to another process by now.
INSTANCE_HEADER = "X-Netstacks-Instance"
# The time at the peer, in seconds since 1970.
CLOCK_HEADER = "X-Netstacks-Clock"
_HEAD_BYTES = 16 * 1024
_BODY_BYTES = 1024 * 1024
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Upgrade:
    """The part of a client's WebSocket handshake that is forwarded: the client's key and the query.

    `is_wanted` returns whether the client still waits for the answer.
    """

    key: str
    query: str = ""
    is_wanted: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Upstream:
    """An accepted upgrade. `answer` is the owner's 101 response with the bytes after it, to be relayed unchanged."""

    owner: Peer
    socket: socket.socket
    answer: bytes


@dataclass(frozen=True)
class NoAnswer:
    """The addressed instance did not carry out the request; `status` is its HTTP status, 0 without a response."""

    outcome: Outcome
    status: int = 0


@dataclass(frozen=True)
class Reply:
    """The JSON body of a successful response."""

    body: Any


class PeerClient:
    """Dials private listeners. A response of another instance than the addressed one counts as none."""

    def __init__(self, tokens: PeerTokens, tls: ssl.SSLContext | None = None) -> None:
        self.clocks = PeerClocks()
        self.tls_problems: dict[str, str] = {}
        """Why the TLS of the last dial failed, as a text, by instance id; without those whose last dial succeeded."""
        self._tokens = tokens
        self._tls = tls

    def upgrade(self, peer: Peer, path: str, claims: Claims, upgrade: Upgrade) -> Upstream | NoAnswer:
        """Forwards a client's handshake to `path`."""
        target = f"{path}?{upgrade.query}" if upgrade.query else path
        head = (
            f"GET {target} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {upgrade.key}\r\n"
        )
        found = self._send(peer, head, path, claims)
        if isinstance(found, NoAnswer):
            return found
        if found.status == 101:
            return Upstream(peer, found.socket, found.raw)
        found.socket.close()
        log.info("peer.declined", peer=peer.id, path=path, status=found.status)
        return NoAnswer("denied" if found.status == 409 else "declined", found.status)

    def call(self, peer: Peer, path: str, **claims: Any) -> Reply | NoAnswer:
        """Sends a request whose arguments are the signed claims; the response is JSON or empty.

        Raises PeerFailed when the peer responds with an error status other than 409.
        """
        found = self._send(peer, f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n", path, claims)
        if isinstance(found, NoAnswer):
            return found
        with found.socket:
            try:
                with greenlets.deadline(ANSWER_SECS, TimeoutError()):
                    body = _read_body(found)
            except (OSError, ValueError, RecursionError):
                return NoAnswer("timed_out")
        if found.status == 409:
            return NoAnswer("denied")
        if not 200 <= found.status < 300:
            why = body.get("error") if isinstance(body, dict) else None
            log.warning("peer.failed", peer=peer.id, path=path, status=found.status, error=why)
            raise PeerFailed(f"instance {peer.id} answered {found.status}: {why or 'without a reason'}")
        return Reply(body)

    def _send(self, peer: Peer, head: str, path: str, claims: Claims) -> "_Answer | NoAnswer":
        with tracing.begin("", tracing.Kind.CLIENT) as span:
            found = self._exchange(peer, head, path, claims)
            if span.is_recorded:
                _describe(span, peer, head, path, found)
        return found

    def _exchange(self, peer: Peer, head: str, path: str, claims: Claims) -> "_Answer | NoAnswer":
        request = (
            f"{head}Host: {peer.address}\r\nAuthorization: Bearer {self._tokens.issue(peer.id, path, claims)}\r\n"
            f"{_trace_headers()}\r\n"
        )
        try:
            sock = self._connect(peer.address)
        except ConnectionRefusedError:
            return NoAnswer("refused")
        # ValueError and OverflowError: a malformed address.
        except (OSError, ValueError, OverflowError) as error:
            self._note_tls(peer, error)
            log.info("peer.unreachable", peer=peer.id, error=type(error).__name__)
            return NoAnswer("timed_out")
        try:
            with greenlets.deadline(ANSWER_SECS, TimeoutError()):
                sent_at = time.monotonic()
                sock.sendall(request.encode())
                answer = _read_answer(sock)
                took_secs = time.monotonic() - sent_at
        except (OSError, ValueError, HTTPException) as error:
            sock.close()
            # A peer that refuses this instance's certificate says so after the handshake.
            self._note_tls(peer, error)
            log.info("peer.silent", peer=peer.id, error=type(error).__name__)
            return NoAnswer("timed_out")
        except BaseException:
            sock.close()
            raise
        # The address may belong to another process since the registry, or the row, was written.
        if answer.headers.get(INSTANCE_HEADER) != peer.id:
            sock.close()
            return NoAnswer("other_id")
        self.clocks.note(peer.id, answer.headers.get(CLOCK_HEADER), took_secs)
        self.tls_problems.pop(peer.id, None)
        return answer

    def _note_tls(self, peer: Peer, error: Exception) -> None:
        if isinstance(error, ssl.SSLCertVerificationError):
            self.tls_problems[peer.id] = error.verify_message
        elif isinstance(error, ssl.SSLError) and error.reason:
            self.tls_problems[peer.id] = error.reason.lower().replace("_", " ")

    def _connect(self, address: str) -> socket.socket:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        with greenlets.deadline(CONNECT_SECS, TimeoutError()):
            sock = socket.create_connection((host, int(port)))
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._tls.wrap_socket(sock, server_hostname=host) if self._tls else sock
            except BaseException:
                sock.close()
                raise


@dataclass(frozen=True)
class _Answer:
    socket: socket.socket
    status: int
    headers: Message
    raw: bytes
    rest: bytes


def _trace_headers() -> str:
    """The header lines that continue the current trace at the peer; empty without one."""
    trace = tracing.current()
    if trace is None:
        return ""
    state = f"tracestate: {trace.state}\r\n" if trace.state else ""
    return f"traceparent: {trace.traceparent}\r\n{state}"


def _describe(span: tracing.Span, peer: Peer, head: str, path: str, found: "_Answer | NoAnswer") -> None:
    method, template = head.partition(" ")[0], _ID.sub("{id}", path)
    span.rename(f"{method} {template}")
    span.set("http.request.method", method)
    span.set("url.template", template)
    host, _, port = peer.address.rpartition(":")
    span.set("server.address", host.strip("[]"))
    if port.isdigit():
        span.set("server.port", int(port))
    span.set("netstacks.peer_id", peer.id)
    if isinstance(found, NoAnswer):
        span.fail(found.outcome)
        return
    span.set("http.response.status_code", found.status)
    if found.status >= 400:
        span.fail(str(found.status))


def _read_answer(sock: socket.socket) -> _Answer:
    """Reads the head of an HTTP response; raises ValueError when it is malformed."""
    raw = b""
    while (end := raw.find(b"\r\n\r\n")) < 0:
        data = sock.recv(_HEAD_BYTES)
        if not data or len(raw) > _HEAD_BYTES:
            raise ValueError("no HTTP answer")
        raw += data
    status_line, _, fields = raw[: end + 4].partition(b"\r\n")
    version, status, *_ = status_line.split(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError("no HTTP answer")
    return _Answer(sock, int(status), parse_headers(BytesIO(fields)), raw, raw[end + 4 :])


def _read_body(answer: _Answer) -> Any:
    body = answer.rest
    while len(body) <= _BODY_BYTES and (data := answer.socket.recv(65536)):
        body += data
    return json.loads(body) if body else None
