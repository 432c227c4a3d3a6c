"""The scripted client, in a process of its own: it types, and measures the time until the echo."""

import contextlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any, Self

from bench.channels import Channel, Endpoint
from bench.cores import CLIENT_CORE, pin

_KEY_GAP_SECS = 0.003
_WARM_UP_KEYS = 20
_TAIL_BYTES = 64


@dataclass(frozen=True)
class Transfer:
    """One file's way to the client; times are of the system's monotonic clock."""

    output_bytes: int
    started_at: float
    ended_at: float
    channel_cpu_secs: float
    client_cpu_secs: float


class Typist:
    """Opens a terminal, then does one thing with it, which ends it."""

    _channel: Channel

    def open(self, endpoint: Endpoint) -> str:
        """Opens a terminal with a silent shell; returns its session id."""
        self._channel = endpoint.open()
        self._type_until(b"PS1=; PS2=; stty -echo; echo re''ady\r", b"ready\r\n")
        return self._channel.session_id

    def transfer(self, path: str) -> Transfer:
        """Has the device print a file and log out."""
        channel_cpu, client_cpu = self._channel.own_cpu_secs(), time.process_time()
        started_at = time.monotonic()
        size = self._type_until(f"cat {path}; echo e''nd; exit\r".encode(), b"end\r\n")
        done = Transfer(
            size,
            started_at,
            time.monotonic(),
            self._channel.own_cpu_secs() - channel_cpu,
            time.process_time() - client_cpu,
        )
        self._channel.close()
        return done

    def flood(self, path: str, duration_secs: float) -> float:
        """Has the device print a file over and over, reads as fast as it can; returns megabytes per second."""
        self._channel.send(f"while :; do cat {path}; done\r".encode())
        started_at = time.monotonic()
        size = 0
        while (took_secs := time.monotonic() - started_at) < duration_secs:
            size += len(self._channel.receive())
        self.leave()
        return size / 1e6 / took_secs

    def echoes(self, duration_secs: float) -> list[float]:
        """Types key after key, each when the last one's echo is there and a moment has passed; returns the seconds."""
        self.turn_into_echo()
        time.sleep(0.2)
        latencies = echoes_in_turn([self], duration_secs)
        self.leave()
        return latencies

    def turn_into_echo(self) -> None:
        """Has keys come back by the terminal's own echo: no program on the device has a part in it."""
        self._type_until(b"echo o''n; stty -icanon echo; exec cat > /dev/null\r", b"on\r\n")

    def echo(self) -> float:
        """Types a key; returns the seconds until its echo."""
        typed_at = time.monotonic()
        self._channel.send(b"x")
        while not self._channel.receive():
            pass
        return time.monotonic() - typed_at

    def leave(self) -> None:
        """Interrupts what runs and logs out: a terminal that is only closed would be kept for its user."""
        with contextlib.suppress(EOFError, OSError):
            self._channel.send(b"\x03exit\r")
            while True:
                self._channel.receive()
        self._channel.close()

    def _type_until(self, keys: bytes, end: bytes) -> int:
        """Types and reads up to `end`; returns how many bytes of output came."""
        self._channel.send(keys)
        size, tail = 0, b""
        while end not in tail:
            output = self._channel.receive()
            size += len(output)
            tail = (tail + output)[-_TAIL_BYTES:] if len(output) < _TAIL_BYTES else output[-_TAIL_BYTES:]
        return size


def echoes_in_turn(typists: Sequence[Typist], duration_secs: float) -> list[float]:
    """Keys in one terminal after the other, with a moment between them; returns the seconds until each echo."""
    ends_at = time.monotonic() + duration_secs
    latencies = []
    for typist in cycle(typists):
        if time.monotonic() >= ends_at:
            break
        latencies.append(typist.echo())
        time.sleep(_KEY_GAP_SECS)
    return latencies[_WARM_UP_KEYS:]


class TypistProcess:
    """A `Typist` in a process that does nothing else, on the client's core."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def ask(self, task: str, *arguments: Any) -> None:
        """Starts a method of the typist."""
        self._pipe.send((task, arguments))

    def answer(self, timeout_secs: float = 120) -> Any:
        """The result of the method that was started."""
        if not self._pipe.poll(timeout_secs):
            raise TimeoutError(f"the client has not finished within {timeout_secs} s")
        failure, result = self._pipe.recv()
        if failure:
            raise RuntimeError(f"in the client's process:\n{failure}")
        return result

    def do(self, task: str, *arguments: Any) -> Any:
        self.ask(task, *arguments)
        return self.answer()


def _work(pipe: Connection) -> None:
    pin(os.getpid(), CLIENT_CORE)
    typist = Typist()
    while True:
        task, arguments = pipe.recv()
        try:
            pipe.send(("", getattr(typist, task)(*arguments)))
        except Exception:
            pipe.send((traceback.format_exc(), None))
