"""Many terminals in one thread, each of which compares every byte with the known output of its device."""

import hashlib
import json
import random
import selectors
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

from tests.controller import Api
from tests.fast_websocket import FastWebSocket

_ROUND_SECS = 0.05
_REST_SECS = 0.25


@dataclass(frozen=True)
class Habit:
    """How a device prints and how its client reads. A client without a limit reads as soon as something comes."""

    name: str
    lines: int
    pause_secs: float
    reads_bytes_per_sec: int = 0
    leaves_every_secs: float = 0


class Program:
    """What the devices run: a file of numbered lines again and again, until they are all told to stop."""

    def __init__(self, folder: Path, lines: int) -> None:
        self._stop = folder / "stop"
        numbers = b"".join(b"%d\n" % number for number in range(1, lines + 1))
        (folder / "numbers").write_bytes(numbers)
        # `read` is a pause that costs no process. It waits for a line that never comes, and sees the hang-up too.
        self._script = folder / "script"
        self._script.write_text(
            f"echo begin; round=0\n"
            f"until [ -e {self._stop} ]; do\n"
            f"    [ $1 = 0 ] || {{ head -n $1 {folder / 'numbers'}; echo round $((++round)); }}\n"
            f"    read -t $2\n"
            f"done\n"
            f"echo end; exec true\n"
        )

    def command(self, habit: Habit) -> bytes:
        return f"PS1=; stty -echo; . {self._script} {habit.lines} {habit.pause_secs}\r".encode()

    def round(self, habit: Habit, number: int) -> bytes:
        """The output of one round in a terminal."""
        return _numbered(habit.lines) + b"round %d\r\n" % number

    def stop(self) -> None:
        self._stop.touch()


@cache
def _numbered(lines: int) -> bytes:
    return b"".join(b"%d\r\n" % number for number in range(1, lines + 1))


class Stream:
    """A device's output as it must be; raises AssertionError at the first byte that is another one."""

    def __init__(self, program: Program, habit: Habit) -> None:
        self._program = program
        self._habit = habit
        self._prelude: bytes | None = b""
        self._expected = b""
        self._position = 0
        self._round = 0
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.has_ended = False

    def take(self, data: bytes) -> None:
        self.size += len(data)
        self.sha256.update(data)
        if self._prelude is not None:
            self._prelude += data
            _, begin, data = self._prelude.partition(b"begin\r\n")
            if not begin:
                return
            self._prelude = None
        while data:
            if self._position == len(self._expected):
                self._expect_next(data)
            size = min(len(data), len(self._expected) - self._position)
            wanted = self._expected[self._position : self._position + size]
            assert data[:size] == wanted, f"round {self._round}: {data[:200]!r} instead of {wanted[:200]!r}"
            self._position += size
            data = data[size:]

    def _expect_next(self, data: bytes) -> None:
        assert not self.has_ended, f"{data[:200]!r} after the end"
        self._position = 0
        self.has_ended = data.startswith(b"e")
        self._round += 1
        self._expected = b"end\r\n" if self.has_ended else self._program.round(self._habit, self._round)


class Client:
    """One terminal and its user."""

    def __init__(self, api: Api, query: dict[str, str], program: Program, habit: Habit) -> None:
        self._api = api
        self._query = query
        self._program = program
        self._habit = habit
        self.stream = Stream(program, habit)
        self.session_id = ""
        self.resumes = 0
        self.rests_until = 0.0
        self._awaited: set[int] = set()
        self._is_in_a_hurry = False
        self._token = uuid.UUID(int=0)
        self._leaves_at = 0.0

    def __str__(self) -> str:
        return f"{self._habit.name}, session {self.session_id}, {self.stream.size} bytes, {self.resumes} resumes"

    def open(self) -> None:
        """Logs in and starts the device's program."""
        self._connect(epoch=0, offset=0)
        while not self.is_attached:
            self.read()
        self._leaves_at = self._next_leave()
        self.socket.send(b"\x01" + self._program.command(self._habit))

    def _connect(self, **where: object) -> None:
        self._awaited = {0x07, 0x08}
        query = urlencode({**self._query, **where, "token": self._api.token})
        small = 4096 if self._habit.reads_bytes_per_sec else 0
        self.socket = FastWebSocket(self._api.controller.port, f"/ws/ssh?{query}", receive_buffer_bytes=small)

    def _next_leave(self) -> float:
        every_secs = self._habit.leaves_every_secs
        return time.monotonic() + random.uniform(0.5, 1.5) * every_secs if every_secs else float("inf")

    @property
    def is_attached(self) -> bool:
        """Whether this connection has its SessionInfo and the token to come back with."""
        return not self._awaited

    @property
    def has_ended(self) -> bool:
        return self.socket.close_code is not None

    def read(self) -> None:
        """Takes what is there, or as much as this client is quick enough for. Raises EOFError at the end."""
        limit = 256 * 1024
        if self._habit.reads_bytes_per_sec and not self._is_in_a_hurry:
            limit = int(self._habit.reads_bytes_per_sec * _REST_SECS)
            self.rests_until = time.monotonic() + _REST_SECS
        for message in self.socket.receive(limit):
            self._take(message[0], message[1:])

    def _take(self, kind: int, payload: bytes) -> None:
        match kind:
            case 0x01:
                self.stream.take(payload)
            case 0x06:
                assert self.stream.has_ended, payload
            case 0x07:
                self._token = uuid.UUID(bytes=payload)
            case 0x08:
                info = json.loads(payload)
                assert info["session_id"] == (self.session_id or info["session_id"])
                assert info["epoch"] == 1
                assert info["offset"] == self.stream.size
                self.session_id = info["session_id"]
        self._awaited.discard(kind)

    def wants_to_leave(self) -> bool:
        return self.is_attached and time.monotonic() >= self._leaves_at and not self.stream.has_ended

    def leave_and_return(self) -> None:
        """Cuts its connection and resumes where it was."""
        self.socket.close()
        self._connect(reconnect_token=self._token, epoch=1, offset=self.stream.size)
        self.resumes += 1
        self._leaves_at = self._next_leave()

    def stay(self) -> None:
        """Ends its habit of leaving."""
        self._leaves_at = float("inf")

    def hurry(self) -> None:
        """Ends its habit of reading slowly."""
        self._is_in_a_hurry = True
        self.socket.limit_receive_buffer(1024 * 1024)
        self.rests_until = 0.0


class Swarm:
    """Lets clients read, rest, leave and return until told otherwise."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self._selector = selectors.DefaultSelector()
        self._resting: list[Client] = []

    def add(self, client: Client) -> None:
        self.clients.append(client)
        self._watch(client)

    def run(self, until: Callable[[], bool]) -> None:
        """Waits until the condition is true, which is checked a few times a second."""
        while not until():
            self._return_from_rest()
            self._return_from_leave()
            next_round_at = time.monotonic() + _ROUND_SECS
            while (left_secs := next_round_at - time.monotonic()) > 0:
                for key, _ in self._selector.select(left_secs):
                    self._read(key.data)

    def _watch(self, client: Client) -> None:
        self._selector.register(client.socket, selectors.EVENT_READ, client)

    def _read(self, client: Client) -> None:
        try:
            client.read()
        except EOFError:
            self._selector.unregister(client.socket)
            client.socket.close()
            assert client.stream.has_ended, f"{client}: closed with {client.socket.close_code} in the middle"
            return
        if client.rests_until > time.monotonic():
            self._selector.unregister(client.socket)
            self._resting.append(client)

    def _return_from_rest(self) -> None:
        now = time.monotonic()
        for client in [one for one in self._resting if one.rests_until <= now]:
            self._resting.remove(client)
            self._watch(client)

    def _return_from_leave(self) -> None:
        for client in self.clients:
            if client.wants_to_leave():
                self._selector.unregister(client.socket)
                client.leave_and_return()
                self._watch(client)
