"""A small application of WebSocket routes, run by `websocket_server` under gunicorn. `/said` returns their notes."""

import hashlib
import os
import random
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, jsonify, request
from werkzeug.exceptions import Forbidden

from netstacks import greenlets
from netstacks.web.ws import websocket
from netstacks.web.ws.routes import ConnectionClosed, Sock, WebSocket

websocket.CLOSE_TIMEOUT_SECS = float(os.environ["CLOSE_TIMEOUT_SECS"])

app = Flask(__name__)
sock = Sock(app)
sock_before_app = Sock()
blueprint = Blueprint("doors", __name__)
SAID: list[str] = []
GO = greenlets.Event()


@app.get("/said")
def said() -> Any:
    return jsonify(SAID)


@app.post("/go")
def go() -> Any:
    """Lets the handlers that wait for it go on."""
    GO.set()
    return "", 204


@sock.route("/echo")
def echo(ws: WebSocket) -> None:
    while True:
        message = ws.receive(timeout=0.01)
        if message is not None:
            ws.send(message)


@sock.route("/notes/<name>")
def notes(ws: WebSocket, name: str) -> None:
    """Records the messages and the end."""
    ws.on_pong = lambda payload: SAID.append(f"{name} pong {payload!r}")
    ws.send("ready")
    try:
        while True:
            SAID.append(f"{name} message {ws.receive()!r}")
    except ConnectionClosed:
        SAID.append(f"{name} closed {ws.close_code} {ws.close_reason}")
        raise


@sock.route("/answers/<name>")
def answers(ws: WebSocket, name: str) -> None:
    """Records each message, then answers it."""
    while True:
        SAID.append(f"{name} message {ws.receive()!r}")
        ws.send("noted")


@sock.route("/burst/<int:seed>")
def burst(ws: WebSocket, seed: int) -> None:
    """10 MB in uneven messages with pings from another greenlet between them, then their SHA-256 as text."""
    source = random.Random(seed)
    digest = hashlib.sha256()
    pinger = greenlets.spawn("pinger", _ping_for_ever, ws)
    for _ in range(160):
        message = source.randbytes(source.randrange(1, 131_072))
        digest.update(message)
        ws.send(message)
    pinger.kill()
    ws.send(digest.hexdigest())


def _ping_for_ever(ws: WebSocket) -> None:
    while True:
        ws.ping(b"between")
        greenlets.sleep(0.001)


@sock.route("/choir/<int:voices>")
def choir(ws: WebSocket, voices: int) -> None:
    """Several greenlets send large messages at once, each of one letter only."""
    singers = [greenlets.spawn("singer", _sing, ws, bytes([65 + voice])) for voice in range(voices)]
    greenlets.joinall(singers)


def _sing(ws: WebSocket, letter: bytes) -> None:
    for _ in range(20):
        ws.send(letter * 300_000)


@sock.route("/flood/<name>")
def flood(ws: WebSocket, name: str) -> None:
    """Sends without end from one greenlet, and does what it is told in another."""
    greenlets.spawn("flooder", _flood, ws, name)
    while (message := ws.receive()) is not None:
        SAID.append(f"{name} told {message!r}")
        if message == "abort":
            ws.abort()
        if message == "close":
            ws.close(4000, "enough")
            SAID.append(f"{name} close returned")


def _flood(ws: WebSocket, name: str) -> None:
    try:
        while True:
            ws.send(b"x" * 50_000)
    except ConnectionClosed:
        SAID.append(f"{name} sender woke up")


@sock.route("/abandoned/<name>")
def abandoned(ws: WebSocket, name: str) -> None:
    """Another greenlet aborts while this one waits for a message."""
    greenlets.spawn("aborter", ws.abort)
    try:
        ws.receive()
    except ConnectionClosed as closed:
        SAID.append(f"{name} closed {closed.code}")


@sock.route("/killed")
def killed(ws: WebSocket) -> None:
    """A greenlet dies in the middle of a large message; then another one sends something else."""
    sender = greenlets.spawn("sender", ws.send, b"x" * 30_000_000)
    ws.receive()
    sender.kill()
    ws.send(b"this must not land inside the other message")


@sock.route("/deaf")
def deaf(ws: WebSocket) -> None:
    """Receives nothing until `/go`."""
    GO.wait()
    ws.close(1000)


@sock.route("/swallow/<name>/<int:size>")
def swallow(ws: WebSocket, name: str, size: int) -> None:
    """Takes Data of `size` bytes piece by piece, and slowly; notes what it was and how the memory grew."""
    digest, largest, before = hashlib.sha256(), 0, _peak_bytes()
    while size:
        message = ws.receive()
        assert isinstance(message, bytes)
        assert message[0] == 1
        largest = max(largest, len(message))
        digest.update(message[1:])
        size -= len(message) - 1
        greenlets.sleep(0.001)
    SAID.append(f"{name} {digest.hexdigest()} {largest} {_peak_bytes() - before}")


def _peak_bytes() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


@sock.route("/progress/<name>")
def progress(ws: WebSocket, name: str) -> None:
    """Sends 100,000 bytes, then notes at each message how many its peer has acknowledged."""
    ws.send(b"x" * 100_000)
    while True:
        ws.receive()
        SAID.append(f"{name} {ws.delivered_bytes()}")


@sock.route("/fails")
def fails(ws: WebSocket) -> None:
    ws.receive()
    raise RuntimeError("a bug in a handler")


@sock_before_app.route("/closes/<int:code>")
def closes(ws: WebSocket, code: int) -> None:
    ws.close(code, "because " + "é" * 100)


@sock.route("/farewell/<int:size>")
def farewell(ws: WebSocket, size: int) -> None:
    """Sends one message and closes while it is still on its way."""
    ws.ping(b"in the middle of it")
    ws.send(b"x" * size)
    ws.close(4001, "the end")


def _authorise(door: str) -> str:
    if request.headers.get("X-Pass") != door:
        raise Forbidden("this is not your door")
    return f"guest of {door}"


@sock.route("/guarded/<door>", bp=blueprint, authorise=_authorise)
def guarded(ws: WebSocket, guest: str, door: str) -> None:
    ws.send(f"{guest} at {door}")


sock_before_app.init_app(app)
app.register_blueprint(blueprint)
