"""Checks whether devices answer: a TCP connection and the SSH greeting, without a log-in and without a secret."""

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceUnreachable
from netstacks.hosts import shown_address
from netstacks.store.devices import Contact, Device
from netstacks.terminal.dialling import dial
from netstacks.terminal.plain_text import plain

MAX_DEVICES = 50
_AT_ONCE = 10
_STEP_SECS = 5.0
# A server may send lines before its greeting (RFC 4253, section 4.2).
_MAX_BYTES = 8192
_GREETING = b"SSH-"
_MAX_CHARS = 100


@dataclass(frozen=True)
class Answer:
    """What a check has found: the greeting of the device as `software`, or the `reason` why there is none."""

    device_id: UUID
    contact: Contact
    software: str | None
    reason: str | None
    msecs: int


def check_all(devices: Sequence[Device]) -> list[Answer]:
    """The answers of the devices, in their order; a few of them are checked at a time."""
    waiting = deque(enumerate(devices))
    answers: dict[int, Answer] = {}

    def work() -> None:
        while waiting:
            position, device = waiting.popleft()
            answers[position] = check(device)

    workers = [greenlets.spawn(f"device-check-{number}", work) for number in range(min(_AT_ONCE, len(devices)))]
    greenlets.joinall(workers)
    return [answers[position] for position in range(len(devices))]


def check(device: Device) -> Answer:
    began_at = time.monotonic()
    software, reason = None, None
    try:
        software = _software(device.host, device.port)
    except DeviceError as error:
        reason = str(error)
    msecs = round((time.monotonic() - began_at) * 1000)
    return Answer(device.id, "unreachable" if reason else "reached", software, reason, msecs)


def _software(host: str, port: int) -> str:
    """The greeting of the SSH server without `SSH-`. Raises DeviceUnreachable."""
    sock = dial(host, port, timeout_secs=_STEP_SECS, is_abandoned=lambda: False)
    received = b""
    ends_at = time.monotonic() + _STEP_SECS
    with contextlib.closing(sock):
        while (line := _greeting(received)) is None:
            try:
                sock.settimeout(max(0.01, ends_at - time.monotonic()))
                more = sock.recv(1024)
            except OSError as error:
                raise DeviceUnreachable(f"{shown_address(host, port)} sends no SSH greeting: {error}") from error
            if not more or len(received) > _MAX_BYTES:
                raise DeviceUnreachable(f"{shown_address(host, port)} answers, but is not an SSH server")
            received += more
    return line


def _greeting(received: bytes) -> str | None:
    for line in received.splitlines(keepends=True):
        if line.startswith(_GREETING) and line.endswith((b"\n", b"\r")):
            return plain(line.removeprefix(_GREETING).decode("latin-1").strip())[:_MAX_CHARS]
    return None
