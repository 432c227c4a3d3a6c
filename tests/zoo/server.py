"""A scripted SSH server: what a device does in a connection is plain Python code that runs in a thread of its own.

    def log_in(visit):
        visit.next_log_in()
        visit.banner("Authorised staff only")
        visit.stall(5)
        visit.fail("password")
        if visit.next_log_in().password != "secret":
            visit.disconnect("Too many authentication failures")
        visit.succeed()

    with ScriptedServer(Animal(log_in, Console(greeting="hello"))) as server:
        ... server.port, server.host_key, server.attempts, server.last.terminal

`tests.zoo.scripts` has scripts for most of it.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.zoo import algorithms
from tests.zoo.algorithms import Algorithms
from tests.zoo.protocol import SERVICE_REQUEST, NoMatch, Protocol, disconnect, service_accept
from tests.zoo.wire_format import Reader, boolean, name_list, string, uint32

FAILURE, SUCCESS, BANNER, USERAUTH, PK_OK = 51, 52, 53, 50, 60
INFO_REQUEST, INFO_RESPONSE, CHANGE_REQUEST = 60, 61, 60


class Gone(Exception):
    """The connection has ended, and the script with it."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to log in; `secret` is a password, or the name of a key's algorithm."""

    at: float
    method: str
    user: str
    secret: str = ""
    new_secret: str = ""


@dataclass
class Request:
    """A USERAUTH_REQUEST, taken apart."""

    method: str
    user: str
    password: str = ""
    new_password: str = ""
    key_algorithm: str = ""
    key_blob: bytes = b""
    is_signed: bool = False


class Visit:
    """One connection, for its script: what may be said to the client, and what it has said."""

    def __init__(self, animal: "Animal", connection: socket.socket) -> None:
        self.animal = animal
        self.protocol = Protocol(animal.algorithms, animal.version)
        self.attempts: list[Attempt] = []
        self.answers: list[str] = []
        self.terminal: tuple[str, int, int] | None = None
        self.windows: list[tuple[int, int]] = []
        self.typed = b""
        self.requests: list[str] = []
        self.is_over = threading.Event()
        self._socket = connection
        self._received: list[bytes] = []
        self._lock = threading.Lock()

    # Sending and receiving.

    def send(self, message: bytes) -> None:
        """Any message; raises Gone when the client has left."""
        with self._lock:
            self.protocol.send(message)
            self._flush()

    def write(self, data: bytes) -> None:
        """Bytes as they are: before the version line, or to break the protocol."""
        self._send_all(data)

    def _flush(self) -> None:
        data, self.protocol.output = bytes(self.protocol.output), bytearray()
        self._send_all(data)

    def _send_all(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Gone from error

    def receive(self) -> bytes:
        """The client's next message; raises Gone."""
        while not self._received:
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise Gone from error
            if not data:
                raise Gone
            with self._lock:
                self.protocol.receive(data)
                self._received += self.protocol.messages()
                self._flush()
            if self._received and self._received[0][0] == 1:
                raise Gone
        return self._received.pop(0)

    def rekey(self) -> None:
        with self._lock:
            self.protocol.rekey()
            self._flush()

    # How it ends.

    def stall(self, secs: float) -> None:
        """Sleeps for `secs`; raises Gone when the client leaves meanwhile."""
        ends_at = time.monotonic() + secs
        while time.monotonic() < ends_at and not self.is_over.wait(0.05):
            try:
                if not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise Gone
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error

    def disconnect(self, text: str, code: int = 11) -> None:
        self.send(disconnect(text, code))
        self.hang_up()

    def hang_up(self) -> None:
        """FIN: nothing more from this side."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        raise Gone

    def reset(self) -> None:
        """RST, as from a device that reloads."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise Gone

    def close(self) -> None:
        self.is_over.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    # Logging in (RFC 4252, 4256).

    def next_log_in(self) -> Request:
        """The client's next request to log in."""
        message = self.receive()
        assert message[0] == USERAUTH, f"a request to log in was due, and {message!r} came"
        reader = Reader(message[1:])
        user, _, method = reader.text(), reader.text(), reader.text()
        request = Request(method, user)
        if method == "password":
            changes = reader.boolean()
            request.password = reader.text()
            request.new_password = reader.text() if changes else ""
            self._note(request, request.password, request.new_password)
        elif method == "publickey":
            request.is_signed = reader.boolean()
            request.key_algorithm, request.key_blob = reader.text(), reader.string()
            if request.is_signed:
                self._note(request, request.key_algorithm)
        else:
            self._note(request)
        return request

    def _note(self, request: Request, secret: str = "", new_secret: str = "") -> None:
        self.attempts.append(Attempt(time.monotonic(), request.method, request.user, secret, new_secret))

    def fail(self, *methods: str, partial: bool = False) -> None:
        """The log-in goes on, or may be tried again, with these methods; with none of them, too."""
        self.send(bytes([FAILURE]) + name_list(methods) + boolean(partial))

    def succeed(self) -> None:
        self.send(bytes([SUCCESS]))

    def banner(self, text: str | bytes) -> None:
        self.send(bytes([BANNER]) + string(text) + string(""))

    def ask(self, *prompts: tuple[str | bytes, bool], name: str = "", instruction: str = "") -> list[str]:
        """One round of keyboard-interactive: (prompt, whether the answer may be shown) each; returns the answers."""
        asked = b"".join(string(prompt) + boolean(echo) for prompt, echo in prompts)
        head = string(name) + string(instruction) + string("") + uint32(len(prompts))
        self.send(bytes([INFO_REQUEST]) + head + asked)
        reader = Reader(self.receive())
        assert reader.byte() == INFO_RESPONSE, f"answers were due, and {reader.data!r} came"
        answers = [reader.text() for _ in range(reader.uint32())]
        self.answers += answers
        return answers

    def ask_for_a_new_password(self, prompt: str) -> Request:
        """Says that the password has expired; returns the request that comes next."""
        self.send(bytes([CHANGE_REQUEST]) + string(prompt) + string(""))
        return self.next_log_in()

    def accept_key(self, request: Request) -> None:
        """Says that this key would do, if it were proven."""
        self.send(bytes([PK_OK]) + string(request.key_algorithm) + string(request.key_blob))


# What a device does at some stage of a connection; its result means nothing.
Script = Callable[[Visit], Any]


@dataclass
class Animal:
    """A kind of device. `log_in` returns when the client is in; `session` is all that comes after it."""

    log_in: Script
    session: Script
    version: str = "SSH-2.0-Zoo_1.0"
    algorithms: Algorithms = field(default_factory=Algorithms)
    # Sends what comes before the version line, and stalls.
    before_version: Script = lambda visit: None


class ScriptedServer:
    """An animal on a free loopback port, for as long as the `with` block lasts; `failures` is what its scripts raised.

    `visits` are all connections, the oldest first.
    """

    host = "127.0.0.1"

    def __init__(self, animal: Animal) -> None:
        self.animal = animal
        self.visits: list[Visit] = []
        self.failures: list[BaseException] = []
        self._listener = socket.create_server((self.host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def host_key(self) -> tuple[str, str]:
        """Type and base64, as `add_device` takes them."""
        return algorithms.public_key(self.animal.algorithms)

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts of all visits, without the request for the methods that each client begins with."""
        return [each for visit in self.visits for each in visit.attempts if each.method != "none"]

    @property
    def last(self) -> Visit:
        return self.visits[-1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for visit in self.visits:
            visit.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                visit = Visit(self.animal, connection)
                self.visits.append(visit)
                self._start(self._serve, visit)

    def _serve(self, visit: Visit) -> None:
        try:
            self.animal.before_version(visit)
            visit.protocol.send_version()
            visit._flush()
            service = Reader(visit.receive())
            assert service.byte() == SERVICE_REQUEST
            visit.send(service_accept(service.text()))
            self.animal.log_in(visit)
            self.animal.session(visit)
        except (Gone, NoMatch):
            pass
        except BaseException as error:
            if not visit.is_over.is_set():
                self.failures.append(error)
        finally:
            visit.close()
