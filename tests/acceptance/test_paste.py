"""A paste of any size is taken in pieces, as fast as the device reads, and disturbs no other terminal."""

import contextlib
import hashlib
import random
import threading

import pytest

from tests.acceptance.lab import Lab
from tests.controller import until
from tests.web.websocket_peer import BINARY, CONTINUATION, frame

PASTE_BYTES = 20 * 1024 * 1024
# Reads what is pasted slowly, then tells what it was.
SLOW_READER = (
    "stty raw -echo; echo be''gin; python3 -c 'import os,hashlib,time\n"
    "left, digest = {size}, hashlib.sha256()\n"
    "while left: data = os.read(0, left); digest.update(data); left -= len(data); time.sleep(0.001)\n"
    'print("digest", digest.hexdigest(), end=" fin\\r\\n")\'\r'
)


def paste_text(size: int) -> bytes:
    """Text of characters of one to four bytes, exactly `size` long."""
    source = random.Random(size)
    text = "".join(source.choices("aé€😀\r", k=size // 3)).encode()
    return (text * 2)[: size - 8].decode(errors="ignore").encode().ljust(size, b".")


@pytest.mark.timeout(300)
def test_a_long_paste_to_a_slow_device_is_exact_and_so_is_what_others_type(lab: Lab) -> None:
    pasting, other = lab.open(), lab.open()
    other.type("stty raw -echo; echo rea''dy; exec cat\r")
    other.expect("ready\n")
    seen = len(other.output)
    paste = paste_text(PASTE_BYTES)
    pasting.type(SLOW_READER.format(size=len(paste)))
    pasting.expect("begin")
    sender = threading.Thread(target=pasting.type, args=(paste,))
    sender.start()
    lines = 0
    while sender.is_alive():
        lines += 1
        other.type(f"line-{lines}\r")
        other.expect(f"line-{lines}\r")
    pasting.expect(" fin\r\n", 100)
    assert hashlib.sha256(paste).hexdigest().encode() in pasting.output
    assert other.output[seen:] == b"".join(b"line-%d\r" % line for line in range(1, lines + 1))
    assert lines > 1
    pasting.leave()
    other.leave()


def test_a_paste_in_fragments_is_one_paste(lab: Lab) -> None:
    paste = paste_text(3 * 1024 * 1024)
    terminal = lab.open()
    terminal.type(SLOW_READER.format(size=len(paste)))
    terminal.expect("begin")
    # Cut in the middle of characters.
    terminal.socket.send([b"\x01" + paste[:100_001], paste[100_001:2_000_003], paste[2_000_003:]])
    terminal.expect(" fin\r\n", 100)
    assert hashlib.sha256(paste).hexdigest().encode() in terminal.output
    terminal.leave()


@pytest.mark.parametrize(
    "frames",
    [
        [frame(BINARY, b"\x02" + b"x" * 2_000_000)],
        [frame(BINARY, b"\x02" + b"x" * 600_000, fin=False), frame(CONTINUATION, b"x" * 600_000)],
        [frame(1, b"\x01" + b"x" * 2_000_000)],
    ],
)
def test_a_large_message_of_another_type_is_refused(lab: Lab, frames: list[bytes]) -> None:
    terminal = lab.open()
    with contextlib.suppress(OSError):  # It is refused by its head.
        terminal.socket.socket.sendall(b"".join(frames))
    assert terminal.closed()[0] == 1009
    again = terminal.again()
    until(lambda: again.token, "the same session")
    again.leave()
