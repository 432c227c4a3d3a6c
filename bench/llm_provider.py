"""A provider that costs next to nothing: it speaks both dialects, and what it sends is made at its start.

The path of its base URL says how it answers: `/short` a few pieces at once, `/long` many at once, `/paced` as many one
by one, `/stream` one by one until the client leaves, `/hang` never.
"""

import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from bench.cores import CLIENT_CORE, pin
from tests.processes import open_files

# Different ones: litellm takes a piece that comes again and again for a model that is stuck.
PIECES = [f"interface {number} " for number in range(200)]
SHORT = 10
PIECE_GAP_SECS = 0.002
STREAM_PIECES_PER_SEC = 50
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Provider:
    """Where it listens, and its process."""

    address: str
    pid: int

    def open_files(self) -> int:
        """The descriptors: one for each connection, and those that a process always has."""
        return open_files(self.pid)


@contextmanager
def running_provider() -> Iterator[Provider]:
    """It runs in a process of its own, on the client's core."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield Provider(f"http://127.0.0.1:{listener.getsockname()[1]}", process.pid)
    finally:
        process.terminate()
        process.join()
        listener.close()


def base_url(address: str, dialect: str, way: str) -> str:
    """The base URL under which a client of the dialect gets that kind of answer."""
    return f"{address}/{way}" if dialect == "messages" else f"{address}/{way}/v1"


def _messages() -> tuple[bytes, list[bytes], bytes]:
    """The events before the text, those of its pieces, and those after it, as Anthropic sends them."""
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 900, "output_tokens": 1},
    }  # fmt: skip
    before = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in PIECES
    ]
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    after = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": len(PIECES)}},
        {"type": "message_stop"},
    ]

    def event(data: dict[str, Any]) -> bytes:
        return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()

    return _chunk(*map(event, before)), [_chunk(event(piece)) for piece in pieces], _chunk(*map(event, after))


def _chat_completions() -> tuple[bytes, list[bytes], bytes]:
    """The same as OpenAI sends them."""

    def event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        data = {
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "system_fingerprint": "fp_1", "choices": choices, "usage": usage,
        }  # fmt: skip
        return f"data: {json.dumps(data)}\n\n".encode()

    def choice(finish_reason: str | None = None, **delta: str) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]

    usage = {"prompt_tokens": 900, "completion_tokens": len(PIECES), "total_tokens": 900 + len(PIECES)}
    return (
        _chunk(event(choice(role="assistant", content=""))),
        [_chunk(event(choice(content=text))) for text in PIECES],
        _chunk(event(choice("stop")), event([], usage), b"data: [DONE]\n\n"),
    )


def _chunk(*events: bytes) -> bytes:
    data = b"".join(events)
    return b"%x\r\n%s\r\n" % (len(data), data)


def _serve(listener: socket.socket) -> None:
    pin(os.getpid(), CLIENT_CORE)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer_all, args=(connection,), daemon=True).start()


def _answer_all(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError):
        while path := _request(connection):
            _answer(connection, path)


def _request(connection: socket.socket) -> str:
    """The path that is asked for; empty when the client has left."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return ""
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    left = int(headers["content-length"]) - len(body)
    while left > 0:
        left -= len(connection.recv(65536))
    return first.split(" ")[1]


def _answer(connection: socket.socket, path: str) -> None:
    before, pieces, after = _MESSAGES if path.endswith("/messages") else _CHAT_COMPLETIONS
    match path.split("/")[1]:
        case "short":
            connection.sendall(_HEAD + before + b"".join(pieces[:SHORT]) + after + _END)
        case "long":
            connection.sendall(_HEAD + before + b"".join(pieces) + after + _END)
        case "paced":
            connection.sendall(_HEAD + before)
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(PIECE_GAP_SECS)
            connection.sendall(after + _END)
        case "stream":
            connection.sendall(_HEAD + before)
            for piece in cycle(pieces):
                connection.sendall(piece)
                time.sleep(1 / STREAM_PIECES_PER_SEC)
        case "hang":
            connection.recv(1)


_MESSAGES, _CHAT_COMPLETIONS = _messages(), _chat_completions()
