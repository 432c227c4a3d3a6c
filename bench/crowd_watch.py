"""A process that looks at one instance from outside: its health, and the echo of one terminal that lives there."""

import http.client
import math
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Self

from bench.channels import NetstacksEndpoint

_HEALTH_EVERY_SECS, _HEALTH_TIMEOUT_SECS = 0.1, 10.0
_KEY_EVERY_SECS = 0.02


@dataclass
class Sights:
    """Durations in seconds, infinite for what failed; `unhealthy` counts answers that are not 200, by their status."""

    health: list[float] = field(default_factory=list)
    unhealthy: Counter[str] = field(default_factory=Counter)
    echoes: list[float] = field(default_factory=list)


class Watch:
    """For the `with` block, which begins when the terminal is open."""

    def __init__(self, port: int, path: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._their_pipe = context.Pipe()
        self._process = context.Process(target=_look, args=(port, path, self._their_pipe), daemon=True)

    def __enter__(self) -> Self:
        """Raises EOFError when the terminal cannot be opened."""
        self._process.start()
        # So that the end of the process is the end of the pipe.
        self._their_pipe.close()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def take(self) -> Sights:
        """The observations since the previous call."""
        self._pipe.send(None)
        sights: Sights = self._pipe.recv()
        return sights


def _look(port: int, path: str, pipe: Connection) -> None:
    channel = NetstacksEndpoint(port, path).open()
    pipe.send(None)
    sights = Sights()

    def ask_health() -> None:
        status = "no answer"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HEALTH_TIMEOUT_SECS)
            connection.request("GET", "/api/v1/health")
            status = str(connection.getresponse().status)
            connection.close()
        finally:
            if status != "200":
                sights.unhealthy[status] += 1

    def echo() -> None:
        channel.send(b"x")
        while not channel.receive():
            pass

    def start(action: Callable[[], None], every_secs: float, note: Callable[[list[float]], None]) -> None:
        threading.Thread(target=_repeat, args=(action, every_secs, note), daemon=True).start()

    start(ask_health, _HEALTH_EVERY_SECS, lambda durations: sights.health.extend(durations))
    start(echo, _KEY_EVERY_SECS, lambda durations: sights.echoes.extend(durations))
    while True:
        pipe.recv()
        seen, sights = sights, Sights()
        pipe.send(seen)


def _repeat(action: Callable[[], None], every_secs: float, note: Callable[[list[float]], None]) -> None:
    """Records the time of each action, and of those that were due while it ran."""
    while True:
        began_at = time.monotonic()
        try:
            action()
            failed = False
        except (OSError, EOFError, http.client.HTTPException):
            failed = True
        took_secs = time.monotonic() - began_at
        missed = range(int(took_secs / every_secs) + 1)
        note([math.inf if failed else took_secs - every_secs * number for number in missed])
        time.sleep(every_secs)
