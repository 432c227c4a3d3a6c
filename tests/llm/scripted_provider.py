"""A scripted provider that speaks both dialects and fails on demand.

    with ScriptedProvider() as server:
        server.next(status(500), answer("hello"))   # for the next two requests
        server.always(answer("hello"))              # for those after them
        server.messages_url, server.chat_url        # base URLs for the two dialects

It runs in threads, so it serves plain tests, patched ones and other processes alike. A behaviour is a function that
gets the Exchange; when it returns, the connection is kept, unless it has closed it.
"""

import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MODEL = "scripted-1"


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class ToolCall:
    """A tool call that the model makes."""

    id: str
    name: str
    input: Mapping[str, Any]


class ClientLeft(Exception):
    """The client has closed its side, or the server stops."""


class Exchange:
    """One request and what is sent for it."""

    def __init__(self, connection: socket.socket, received: Received, stopping: threading.Event) -> None:
        self.connection = connection
        self.received = received
        self._stopping = stopping
        self.keeps = True

    @property
    def is_messages(self) -> bool:
        return self.received.path.endswith("/messages")

    def head(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        """The head of a chunked answer. Underscores in names stand for dashes."""
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        self.raw(
            f"HTTP/1.1 {status} Scripted\r\nContent-Type: {content_type}\r\n"
            f"Transfer-Encoding: chunked\r\n{''.join(lines)}\r\n".encode()
        )

    def send(self, data: bytes) -> None:
        """A part of a chunked body."""
        self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """The regular end of a chunked body."""
        self.raw(b"0\r\n\r\n")

    def raw(self, data: bytes) -> None:
        with _raising():
            self.connection.sendall(data)

    def close(self) -> None:
        """Ends the connection by FIN."""
        self.keeps = False
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def is_unread(self) -> bool:
        """Whether the client has yet to read a part of what was sent, by the kernel's list of both ends."""
        here, there = (_listed(*end[:2]) for end in (self.connection.getsockname(), self.connection.getpeername()))
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        ends = [line for line in lines if line[1:3] in ([here, there], [there, here])]
        return any(int(size, 16) for line in ends for size in line[4].split(":"))

    def reset(self) -> None:
        """Ends the connection by RST."""
        self.keeps = False
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait(self, secs: float = 3600) -> None:
        """Sends nothing for so long. Raises ClientLeft when the client goes."""
        until = time.monotonic() + secs
        self.connection.settimeout(0.05)
        try:
            while time.monotonic() < until:
                if self._stopping.is_set():
                    raise ClientLeft
                with suppress(TimeoutError), _raising():
                    if not self.connection.recv(65536):
                        raise ClientLeft
        finally:
            self.connection.settimeout(None)


def _listed(host: str, port: int) -> str:
    """An address as in /proc/net/tcp."""
    return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"


Behaviour = Callable[[Exchange], None]


def event(data: Any, name: str | None = None) -> bytes:
    """One server-sent event with JSON."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def messages_events(
    text: str, tools: Sequence[ToolCall] = (), *, tokens: tuple[int, int] = (11, 7), stop: str | None = None
) -> list[bytes]:
    """An answer in the Messages dialect, as recorded from Anthropic."""
    usage = {"input_tokens": tokens[0], "output_tokens": 1}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    parts: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if text:
        deltas = [{"type": "text_delta", "text": each} for each in _halves(text)]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for tool in tools:
        start = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": each} for each in ["", *_halves(_input(tool))]]
        blocks.append((start, deltas))
    for index, (start, deltas) in enumerate(blocks):
        parts.append({"type": "content_block_start", "index": index, "content_block": start})
        parts += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        parts.append({"type": "content_block_stop", "index": index})
    reason = stop or ("tool_use" if tools else "end_turn")
    delta = {"stop_reason": reason, "stop_sequence": None}
    parts.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": tokens[1]}})
    parts.append({"type": "message_stop"})
    return [event(part, part["type"]) for part in parts]


def chat_events(
    text: str, tools: Sequence[ToolCall] = (), *, tokens: tuple[int, int] = (11, 7), stop: str | None = None
) -> list[bytes]:
    """An answer in the Chat Completions dialect, as recorded from OpenAI: the parts of tool calls come interleaved."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": each} for each in _halves(text) if each]
    begun = [
        {"index": index, "id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": ""}}
        for index, tool in enumerate(tools)
    ]
    inputs = [_halves(_input(tool)) for tool in tools]
    more = [
        {"index": index, "function": {"arguments": halves[half]}}
        for half in (0, 1)
        for index, halves in enumerate(inputs)
    ]
    deltas += [{"tool_calls": [part]} for part in [*begun, *more]]
    reason = stop or ("tool_calls" if tools else "stop")
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason})
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    chunks = [{**head, "choices": [choice], "usage": None} for choice in choices]
    return [*(event(chunk) for chunk in [*chunks, {**head, "choices": [], "usage": usage}]), b"data: [DONE]\n\n"]


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [text[:middle], text[middle:]]


def _input(tool: ToolCall) -> str:
    return json.dumps(tool.input)


def _events(exchange: Exchange, text: str, tools: Sequence[ToolCall] = (), stop: str | None = None) -> list[bytes]:
    return (messages_events if exchange.is_messages else chat_events)(text, tools, stop=stop)


def _beginning(exchange: Exchange, text: str) -> bytes:
    """The events up to the last of the text."""
    events = _events(exchange, text)
    return b"".join(events[:-3])


# What it does for a request: it answers …


def answer(text: str = "pong", tools: Sequence[ToolCall] = (), stop: str | None = None) -> Behaviour:
    """Well. The end is sent with the last events, as servers do."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        *events, last = _events(exchange, text, tools, stop)
        for each in events:
            exchange.send(each)
        exchange.raw(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))

    return behave


def stream(*parts: bytes) -> Behaviour:
    """With these bytes as the body, which then ends regularly."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        for part in parts:
            exchange.send(part)
        exchange.end()

    return behave


def trickle(text: str, secs: float) -> Behaviour:
    """Well, with a pause of `secs` after every event."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        for each in _events(exchange, text):
            exchange.send(each)
            exchange.wait(secs)
        exchange.end()

    return behave


def lingering(text: str) -> Behaviour:
    """Well, and does not end the body."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(b"".join(_events(exchange, text)))
        exchange.wait()

    return behave


# … or it fails:


def silence() -> Behaviour:
    """Takes the request and sends nothing at all."""
    return lambda exchange: exchange.wait()


def no_token() -> Behaviour:
    """Sends the head, and whatever comes before the first piece of an answer, and then nothing."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(_events(exchange, "x")[0])
        exchange.wait()

    return behave


def keep_alives(secs: float = 0.05) -> Behaviour:
    """Sends comments and pings, and never an answer."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        while True:
            exchange.send(b": OPENROUTER PROCESSING\n\n")
            if exchange.is_messages:
                exchange.send(event({"type": "ping"}, "ping"))
            exchange.wait(secs)

    return behave


def stall(text: str) -> Behaviour:
    """Stops in the middle, with the connection open."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(_beginning(exchange, text))
        exchange.wait()

    return behave


def cut_by_fin(text: str) -> Behaviour:
    """Closes the connection in the middle."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(_beginning(exchange, text))
        exchange.close()

    return behave


def cut_by_rst(text: str) -> Behaviour:
    """Resets the connection in the middle, when the client has read what came before: a reset discards the rest."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(_beginning(exchange, text))
        while exchange.is_unread():
            time.sleep(0.01)
        exchange.reset()

    return behave


def ends_early(text: str) -> Behaviour:
    """Ends the body regularly in the middle of the answer."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(_beginning(exchange, text))
        exchange.end()

    return behave


def error_event(kind: str, text: str = "") -> Behaviour:
    """An error inside a 200, after `text`."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        if text:
            exchange.send(_beginning(exchange, text))
        error = {"error": {"type": kind, "message": f"a scripted {kind}"}}
        exchange.send(event({"type": "error", **error}, "error") if exchange.is_messages else event(error))
        exchange.end()

    return behave


def status(code: int, message: str = "a scripted failure", **headers: str) -> Behaviour:
    """Another status, with the error in the body and these headers; underscores stand for dashes."""

    def behave(exchange: Exchange) -> None:
        exchange.head(code, "application/json", **headers)
        exchange.send(json.dumps({"error": {"type": "scripted", "message": message}}).encode())
        exchange.end()

    return behave


def html() -> Behaviour:
    """A page with status 200."""

    def behave(exchange: Exchange) -> None:
        exchange.head(content_type="text/html; charset=utf-8")
        exchange.send(b"<html><body>Please log in</body></html>")
        exchange.end()

    return behave


def garbage() -> Behaviour:
    """Bytes that are no HTTP."""

    def behave(exchange: Exchange) -> None:
        exchange.raw(b"\x00\xff\x15\x03 what is this\r\n\r\n")
        exchange.close()

    return behave


def huge(megabytes: int) -> Behaviour:
    """So much text."""

    def behave(exchange: Exchange) -> None:
        exchange.head()
        first, *_ = _events(exchange, "x")
        part = _beginning(exchange, "x" * 10_000).removeprefix(first)
        exchange.send(first)
        for _ in range(megabytes * 100):
            exchange.send(part)
        exchange.end()

    return behave


def hang_up() -> Behaviour:
    """Closes the connection without an answer."""
    return lambda exchange: exchange.close()


class ScriptedProvider:
    """A provider on 127.0.0.1. Without a script it answers well."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._script: deque[Behaviour] = deque()
        self._always: Behaviour = answer()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._stopping = threading.Event()
        self.requests: list[Received] = []
        self.connections_accepted = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        # A close alone does not end the waiting `accept`: it would take a connection of the next provider.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def messages_url(self) -> str:
        """The base URL for the Messages dialect."""
        return self.url

    @property
    def chat_url(self) -> str:
        """The base URL for the Chat Completions dialect."""
        return f"{self.url}/v1"

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._connections)

    def next(self, *behaviours: Behaviour) -> None:
        """For the next requests, one each."""
        self._script.extend(behaviours)

    def always(self, behaviour: Behaviour) -> None:
        """For every request that `next` has nothing for."""
        self._always = behaviour

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections_accepted += 1
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        connection = accepted
        try:
            if self._tls:
                connection = self._tls.wrap_socket(accepted, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                received = _receive(connection)
                with self._lock:
                    self.requests.append(received)
                    behave = self._script.popleft() if self._script else self._always
                exchange = Exchange(connection, received, self._stopping)
                behave(exchange)
                if not exchange.keeps:
                    return
        except (ClientLeft, OSError):
            return
        finally:
            connection.close()
            with self._lock:
                self._connections.discard(accepted)


def _receive(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _read(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += _read(connection)
    return Received(first.split(" ")[1], headers, json.loads(body) if body else None)


def _read(connection: socket.socket) -> bytes:
    with _raising():
        data = connection.recv(65536)
    if not data:
        raise ClientLeft
    return data


@contextmanager
def _raising() -> Iterator[None]:
    """A client that leaves is not an error here."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise ClientLeft from error


@contextmanager
def slow_connect() -> Iterator[str]:
    """The URL of a server that accepts no connection and refuses none: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        try:
            for _ in range(8):
                client = socket.socket()
                waiting.append(client)
                client.settimeout(0.2)
                try:
                    client.connect(address)
                except TimeoutError:
                    break
            else:
                raise AssertionError("the queue has no end")
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for client in waiting:
                client.close()
