"""Scripts for scripted servers: log-ins, and sessions with a terminal."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.zoo.server import Request, Script, Visit
from tests.zoo.wire_format import Reader, boolean, string, uint32

GLOBAL_REQUEST, REQUEST_SUCCESS, REQUEST_FAILURE = 80, 81, 82
CHANNEL_OPEN, OPEN_CONFIRMATION, OPEN_FAILURE, WINDOW_ADJUST = 90, 91, 92, 93
CHANNEL_DATA, EXTENDED_DATA, CHANNEL_EOF, CHANNEL_CLOSE = 94, 95, 96, 97
CHANNEL_REQUEST, CHANNEL_SUCCESS, CHANNEL_FAILURE = 98, 99, 100

# Checks a request whose method it is; returns whether the client may go on.
Check = Callable[[Visit, Request], bool]


def offering(*methods: str, **checks: Check) -> Script:
    """One of the checks, named by method with `_` for `-`, has to say yes; `methods` are what the client is told."""
    return in_turn((methods, checks))


def in_turn(*steps: tuple[tuple[str, ...], dict[str, Check]]) -> Script:
    """Each step in its turn: a step that is passed and is not the last one is a partial success."""

    def log_in(visit: Visit) -> None:
        for number, (methods, checks) in enumerate(steps):
            while True:
                request = visit.next_log_in()
                check = checks.get(request.method.replace("-", "_"))
                if check is not None and check(visit, request):
                    break
                visit.fail(*methods)
            if number < len(steps) - 1:
                visit.fail(*steps[number + 1][0], partial=True)
        visit.succeed()

    return log_in


def password(*secrets: str, after_secs: float = 0) -> Check:
    """Any of the passwords is right, after as long as a slow AAA server takes."""

    def check(visit: Visit, request: Request) -> bool:
        visit.stall(after_secs)
        return request.password in secrets

    return check


def questions(*rounds: tuple[tuple[str | bytes, bool, str], ...], instruction: str = "") -> Check:
    """Rounds of (prompt, echo, right answer); a wrong answer ends it after its round."""

    def check(visit: Visit, request: Request) -> bool:
        for asked in rounds:
            prompts = tuple((prompt, echo) for prompt, echo, _ in asked)
            if visit.ask(*prompts, instruction=instruction) != [right for _, _, right in asked]:
                return False
        return True

    return check


def public_key(*accepted_algorithms: str) -> Check:
    """Any key, as long as it signs with one of these algorithms; signatures are not verified."""

    def check(visit: Visit, request: Request) -> bool:
        while request.method == "publickey" and request.key_algorithm in accepted_algorithms:
            if request.is_signed:
                return True
            visit.accept_key(request)
            request = visit.next_log_in()
        return False

    return check


def by_password(secret: str, after_secs: float = 0) -> Script:
    return offering("password", password=password(secret, after_secs=after_secs))


@dataclass
class Channel:
    """The client's channel, for what is printed on it."""

    visit: Visit
    number: int

    def _send(self, kind: int, body: bytes = b"") -> None:
        self.visit.send(bytes([kind]) + uint32(self.number) + body)

    def print(self, text: str | bytes) -> None:
        """Standard output. Does not wait for the client's window: scripts say little."""
        self._send(CHANNEL_DATA, string(text))

    def print_error(self, text: str | bytes) -> None:
        self._send(EXTENDED_DATA, uint32(1) + string(text))

    def exit_status(self, status: int) -> None:
        self._send(CHANNEL_REQUEST, string("exit-status") + boolean(False) + uint32(status))

    def exit_signal(self, name: str, text: str) -> None:
        body = string("exit-signal") + boolean(False) + string(name) + boolean(False) + string(text) + string("")
        self._send(CHANNEL_REQUEST, body)

    def request(self, name: str) -> None:
        """Asks for something that clients do not know, and for an answer."""
        self._send(CHANNEL_REQUEST, string(name) + boolean(True))

    def eof(self) -> None:
        self._send(CHANNEL_EOF)

    def close(self) -> None:
        self._send(CHANNEL_CLOSE)

    def answer(self, granted: bool) -> None:
        self._send(CHANNEL_SUCCESS if granted else CHANNEL_FAILURE)

    def adjust(self, size: int) -> None:
        self._send(WINDOW_ADJUST, uint32(size))


# Nothing comes of what the client says with these.
_ANSWERS = (
    *(REQUEST_SUCCESS, REQUEST_FAILURE, WINDOW_ADJUST),
    *(CHANNEL_EOF, CHANNEL_CLOSE, CHANNEL_SUCCESS, CHANNEL_FAILURE),
)

GRANTED, REFUSED, SILENT = "granted", "refused", "silent"


def _leave(channel: Channel) -> None:
    channel.exit_status(0)
    channel.eof()
    channel.close()


@dataclass
class Console:
    """A terminal session with a command line of its own: it echoes lines, and knows `exit`.

    `requests` says what becomes of `pty-req`, `shell` and others: GRANTED unless named. `commands` run when their line
    has been typed; `on_exit` is how a session ends.
    """

    prompt: str = "zoo# "
    greeting: str | bytes = ""
    errors: str | bytes = ""
    requests: dict[str, str] | None = None
    refuses_channel: str = ""
    shell_after_secs: float = 0
    window: int = 1 << 20
    packet: int = 32768
    encoding: str = "utf-8"
    commands: dict[str, Callable[[Channel], None]] | None = None
    on_exit: Callable[[Channel], None] = _leave

    def __call__(self, visit: Visit) -> None:
        """Serves channels until the client leaves."""
        line = b""
        channel = None
        while True:
            message = visit.receive()
            reader = Reader(message[1:])
            kind = message[0]
            if kind == CHANNEL_OPEN:
                channel = self._open(visit, reader)
            elif kind == GLOBAL_REQUEST:
                visit.requests.append(reader.text())
                if reader.boolean():
                    visit.send(bytes([REQUEST_FAILURE]))
            elif channel is None or kind in _ANSWERS:
                continue
            elif kind == CHANNEL_REQUEST:
                reader.uint32()
                self._request(channel, reader)
            elif kind == CHANNEL_DATA:
                reader.uint32()
                line = self._take(channel, line, reader.string())

    def _open(self, visit: Visit, reader: Reader) -> Channel | None:
        reader.text()
        number = reader.uint32()
        if self.refuses_channel:
            text = string(self.refuses_channel) + string("")
            visit.send(bytes([OPEN_FAILURE]) + uint32(number) + uint32(4) + text)
            return None
        ours = uint32(0) + uint32(self.window) + uint32(self.packet)
        visit.send(bytes([OPEN_CONFIRMATION]) + uint32(number) + ours)
        return Channel(visit, number)

    def _request(self, channel: Channel, reader: Reader) -> None:
        visit, what, wants_answer = channel.visit, reader.text(), reader.boolean()
        visit.requests.append(what)
        if what == "pty-req":
            visit.terminal = (reader.text(), reader.uint32(), reader.uint32())
        elif what == "window-change":
            visit.windows.append((reader.uint32(), reader.uint32()))
        elif what == "shell":
            visit.stall(self.shell_after_secs)
        verdict = (self.requests or {}).get(what, GRANTED)
        if wants_answer and verdict != SILENT:
            channel.answer(verdict == GRANTED)
        if what == "shell" and verdict != REFUSED:
            if self.errors:
                channel.print_error(self.errors)
            channel.print(self._encoded(self.greeting) + self._encoded(self.prompt))

    def _encoded(self, text: str | bytes) -> bytes:
        return text.encode(self.encoding) if isinstance(text, str) else text

    def _take(self, channel: Channel, line: bytes, data: bytes) -> bytes:
        channel.visit.typed += data
        channel.adjust(len(data))
        for byte in data:
            if byte not in b"\r\n":
                line += bytes([byte])
                channel.print(bytes([byte]))
                continue
            channel.print(b"\r\n")
            command, line = line.decode(self.encoding, "replace").strip(), b""
            if command in ("exit", "quit"):
                self.on_exit(channel)
                continue
            if (run := (self.commands or {}).get(command)) is not None:
                run(channel)
            channel.print(self._encoded(self.prompt))
        return line
