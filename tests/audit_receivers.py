"""Receivers of the audit log for tests: syslog over UDP, TCP and TLS, and a webhook; each on a port of its own."""

import http.server
import json
import re
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# RFC 5424, section 6: priority, version, time, host, application, process, message id, one element, text with a BOM.
_MESSAGE = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (?P<host>[!-~]{1,255})"
    r" (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128}) (?P<message_id>[!-~]{1,32})"
    r' \[netstacks@32473(?P<parameters>(?: [a-z_]+="(?:[^"\\\]]|\\["\\\]])*")*)\] \ufeff(?P<text>.*)',
    re.DOTALL,
)
_PARAMETER = re.compile(r' ([a-z_]+)="((?:[^"\\\]]|\\["\\\]])*)"')


def parsed(data: bytes) -> dict[str, Any]:
    """The parts of a syslog message, whose form is checked."""
    found = _MESSAGE.fullmatch(data.decode())
    assert found is not None, data
    parameters = {name: re.sub(r"\\(.)", r"\1", text) for name, text in _PARAMETER.findall(found["parameters"])}
    return {**found.groupdict(), **parameters}


class Receiver:
    """Collects messages; `address` is what a target is given."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.address = ""

    def rows(self) -> list[int]:
        """The ids of the audit rows in the order in which they came."""
        return [int(message["id"]) for message in list(self.messages)]

    def events(self) -> list[str]:
        return [message["event"] for message in list(self.messages)]


@contextmanager
def syslog_udp() -> Iterator[Receiver]:
    receiver = Receiver()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        receiver.address = f"127.0.0.1:{server.getsockname()[1]}"
        stopped = threading.Event()

        def receive() -> None:
            while not stopped.is_set():
                try:
                    receiver.messages.append(parsed(server.recv(65536)))
                except TimeoutError:
                    continue

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield receiver
        finally:
            stopped.set()
            thread.join()


@contextmanager
def syslog_stream(certificate: tuple[Path, Path] | None = None) -> Iterator[Receiver]:
    """Over TCP, or over TLS with this certificate and key. It reads octet-counted messages until the sender ends."""
    receiver = Receiver()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = context.wrap_socket(self.request, server_side=True) if context else self.request
            with connection, connection.makefile("rb") as stream:
                while length := _length(stream):
                    receiver.messages.append(parsed(stream.read(length)))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

        def handle_error(self, *_: object) -> None:
            """A sender that trusts no such certificate ends the handshake."""

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield receiver
        server.shutdown()


def _length(stream: Any) -> int:
    digits = b""
    while (byte := stream.read(1)) not in (b" ", b""):
        assert byte.isdigit()
        digits += byte
    return int(digits or 0)


class Webhook(Receiver):
    """`status` is what it answers with; `trickles` has it answer a byte a second, without an end."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.trickles = False
        self.stays_silent_secs = 0.0
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.refused = 0


@contextmanager
def webhook(certificate: tuple[Path, Path], port: int = 0) -> Iterator[Webhook]:
    receiver = Webhook()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.trickles:
                while True:
                    self.wfile.write(b"H")
                    time.sleep(1)
            time.sleep(receiver.stays_silent_secs)
            # Once: a test that changes it meanwhile must not have rows acknowledged that were not taken.
            status = receiver.status
            if status == 200:
                receiver.requests.append((dict(self.headers), body))
                receiver.messages += [json.loads(line) for line in body.splitlines()]
            else:
                receiver.refused += 1
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A sender may give up."""

    with Server(("127.0.0.1", port), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        receiver.address = f"https://127.0.0.1:{server.server_address[1]}/audit?from=tests"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield receiver
        server.shutdown()
