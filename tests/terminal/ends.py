"""Ends connections to a device in every way and at every step, beside a healthy terminal: run by test_ssh_ends.py.

`python -m tests.terminal.ends HOST PORT USER KEY_FILE SEED ROUNDS`, in a patched process as a worker's is. It prints
`whole` when the healthy terminal has lost nothing and nothing is left open.
"""
# ruff: noqa: E402 - what is imported before the patch would keep sockets that block.

from gevent import monkey

monkey.patch_all()

import gc
import os
import random
import socket
import sys
from pathlib import Path

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal import ssh_client
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.host_key import HostKey
from netstacks.terminal.shell import Shell
from netstacks.terminal.ssh_connection import Hooks
from netstacks.terminal.ssh_target import SshTarget
from tests.wire import Wire

host, port, user, key_file, seed, rounds = sys.argv[1:]
RANDOM = random.Random(int(seed))
TARGET = SshTarget(host, int(port), user, private_key=Path(key_file).read_text())
ENDS = ("abort", "cut", "close", "leave", "type and abort")


def healthy(done: greenlets.Event, echoed: list[bytes]) -> None:
    """Types numbered lines into `cat` until it is told to stop; each must come back as it was."""
    shell = ssh_client.open_shell(TARGET, Hooks(lambda found: None))
    shell.write(b"PS1=; stty raw -echo; bind 'set enable-bracketed-paste off' 2>&-; echo re''ady; exec cat\n")
    read_until(shell, b"ready\n")
    while not done.is_set():
        line = b"line %d\n" % len(echoed)
        shell.write(line)
        assert read_until(shell, b"\n") == line
        echoed.append(line)
        greenlets.sleep(0.01)
    shell.close()


def read_until(shell: Shell, end: bytes) -> bytes:
    output = b""
    while not output.endswith(end):
        piece = shell.read(65536)
        assert piece != b"", f"{shell.close_reason} after {output!r}"
        output += piece or b""
    return output


def churn(done: greenlets.Event) -> None:
    """Has the numbers of closed descriptors used again at once: a write to one of them would show at the other end."""
    while not done.is_set():
        pairs = [socket.socketpair() for _ in range(5)]
        greenlets.sleep(0.001)
        for one, other in pairs:
            one.send(b"mine")
            assert other.recv(100) == b"mine", "something else was written to this descriptor"
            one.close()
            other.close()


def attempt(number: int) -> str:
    """Opens one connection over a wire of its own, and ends it at a random step; returns the outcome."""
    wire = Wire(TARGET.port)
    end, left = RANDOM.choice(ENDS), greenlets.Event()
    asks = RANDOM.random() < 0.3
    target = SshTarget("127.0.0.1", wire.port, user, private_key=TARGET.private_key)

    def happen() -> None:
        match end:
            case "abort" | "type and abort":
                wire.abort()
            case "cut":
                wire.cut()
            case "leave":
                left.set()

    def check(_found: HostKey) -> None:
        if asks:  # The end comes while the user is asked.
            happen()
            greenlets.sleep(0.05)

    if not asks:
        greenlets.spawn(f"end-{number}", lambda: (greenlets.sleep(RANDOM.uniform(0, 0.6)), happen()))
    try:
        shell = ssh_client.open_shell(target, Hooks(check), Dialogue(left.is_set))
    except DeviceError as error:
        wire.close()
        return type(error).__name__
    try:
        if end == "type and abort":
            shell.write(b"yes\n")
        if end in ("abort", "cut", "type and abort"):
            while shell.read(65536) != b"":
                pass
            return shell.close_reason
        return end
    except DeviceError as error:
        return str(error)
    finally:
        shell.close()
        wire.close()


def goes_on(typing: greenlets.Greenlet, echoed: list[bytes]) -> None:
    """Waits for the healthy terminal's next line, however slow the machine is."""
    before = len(echoed)
    while len(echoed) == before:
        assert not typing.ready(), "the healthy terminal has ended"
        greenlets.sleep(0.01)


def main() -> None:
    attempt(0)
    gc.collect()
    done = greenlets.Event()
    echoed: list[bytes] = []
    typing = greenlets.spawn("healthy", healthy, done, echoed)
    churning = greenlets.spawn("churn", churn, done)
    goes_on(typing, echoed)
    before = len(os.listdir("/proc/self/fd"))
    for start in range(0, int(rounds), 5):
        together = [greenlets.spawn("attempt", attempt, number) for number in range(start, start + 5)]
        greenlets.joinall(together, timeout=60)
        assert all(each.ready() for each in together), "one of them never ended"
        assert all(each.successful() for each in together)
        goes_on(typing, echoed)
        assert not churning.ready()
    done.set()
    greenlets.joinall([typing, churning], timeout=30)
    assert typing.successful()
    assert churning.successful()
    del together
    gc.collect()
    left = len(os.listdir("/proc/self/fd")) - before
    print("whole", len(echoed), "lines, descriptors left:", max(0, left), flush=True)


main()
