"""Terminals as a script sees them: the same calls for every stack."""

import json
import os
import subprocess
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Protocol

from bench.cores import SERVER_CORE, pin
from tests.fast_websocket import TEXT, FastWebSocket
from tests.processes import cpu_secs

_READ_BYTES = 256 * 1024


class Channel(Protocol):
    """One open terminal."""

    session_id: str

    def fileno(self) -> int: ...
    def send(self, keys: bytes) -> None: ...
    def receive(self) -> bytes:
        """Waits for the stack; b"" when the message was no output. Raises EOFError when the terminal has ended."""

    def own_cpu_secs(self) -> float:
        """The cost of the channel's own process, where the stack has one for each terminal."""

    def close(self) -> None: ...


class Endpoint(Protocol):
    """How to open a terminal on one stack, from any process."""

    def open(self) -> Channel: ...


@dataclass(frozen=True)
class NetstacksEndpoint:
    port: int
    path: str

    def open(self) -> Channel:
        return NetstacksChannel(FastWebSocket(self.port, self.path))


class NetstacksChannel:
    """The frames of docs/protocol.md, 6.2. Usable once the device has been logged in to."""

    def __init__(self, socket: FastWebSocket) -> None:
        self._socket = socket
        self.fileno = socket.fileno
        self.close = socket.close
        self.session_id = self._error = ""
        while not self.session_id:
            self.receive()

    def send(self, keys: bytes) -> None:
        self._socket.send(b"\x01" + keys)

    def receive(self) -> bytes:
        output = []
        for message in self._socket.receive():
            match message[0]:
                case 0x01:
                    output.append(message[1:])
                case 0x08:
                    self.session_id = json.loads(message[1:])["session_id"]
                case 0x06:
                    self._error = message[1:].decode()
        if self._error and not output:
            raise ConnectionError(self._error)
        return b"".join(output)

    def own_cpu_secs(self) -> float:
        return 0.0


@dataclass(frozen=True)
class WebSshEndpoint:
    port: int
    login: tuple[tuple[str, str], ...]

    def open(self) -> Channel:
        form = urllib.parse.urlencode(self.login).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", form, timeout=60) as answer:
            ticket = json.load(answer)
        if not ticket["id"]:
            raise ConnectionError(f"webssh: {ticket['status']}")
        return WebSshChannel(FastWebSocket(self.port, f"/ws?id={ticket['id']}"))


class WebSshChannel:
    """JSON towards webssh, plain bytes from it. Usable once the shell has shown its prompt."""

    session_id = ""

    def __init__(self, socket: FastWebSocket) -> None:
        self._socket = socket
        self.fileno = socket.fileno
        self.close = socket.close
        while not self.receive():
            pass

    def send(self, keys: bytes) -> None:
        self._socket.send(json.dumps({"data": keys.decode()}).encode(), TEXT)

    def receive(self) -> bytes:
        return b"".join(self._socket.receive())

    def own_cpu_secs(self) -> float:
        return 0.0


@dataclass(frozen=True)
class OpenSshEndpoint:
    command: tuple[str, ...]

    def open(self) -> Channel:
        return OpenSshChannel(self.command)


class OpenSshChannel:
    """`ssh -tt` on a pair of pipes."""

    session_id = ""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        pin(self._process.pid, SERVER_CORE)

    def fileno(self) -> int:
        return self._stdout

    def send(self, keys: bytes) -> None:
        os.write(self._stdin, keys)

    def receive(self) -> bytes:
        output = os.read(self._stdout, _READ_BYTES)
        if not output:
            raise EOFError
        return output

    def own_cpu_secs(self) -> float:
        return cpu_secs(self._process.pid)

    def close(self) -> None:
        self._process.kill()
        with self._process:
            pass
