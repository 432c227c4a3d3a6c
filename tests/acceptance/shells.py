"""What tests type into the shell of a device, and what it answers."""

import itertools
import re
import time

from tests.acceptance.sharing import QUIET
from tests.controller import Terminal, until

# A quiet shell that counts for about two seconds, so that something can happen meanwhile.
COUNT = "PS1=; stty -echo; clear; for i in $(seq 1 40); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
COUNTED = b"".join(b"%d\r\n" % number for number in range(1000, 41_000))
_numbers = itertools.count(1)
# Ends what `prints` has begun, and unlike Ctrl+C, which bash may miss between two commands, always.
STOPS = "\r"


def prints(word: str) -> str:
    """What has a shell print the word five times a second, until it is typed STOPS."""
    # With 0 it only looks whether a line waits. A read with a limit may lose one that comes as it ends.
    return f"until read -t 0; do echo {word[0]}''{word[1:]}; sleep .2; done\r"


def shell_pid(terminal: Terminal) -> bytes:
    """The process id of the shell, which goes on without a prompt and without an echo."""
    mark = f"pid-{next(_numbers)}"
    # Typed before the shell is there, the command is echoed, which must not look like its answer.
    terminal.type(f"PS1=; stty -echo; echo {mark[0]}''{mark[1:]}-$$-\r")
    found: re.Match[bytes] = until(
        lambda: re.search(rf"{mark}-(\d+)-\r\n".encode(), terminal.output), "the shell's pid"
    )
    return found[1]


def quiet(terminal: Terminal) -> Terminal:
    terminal.type(QUIET)
    terminal.expect("ready")
    return terminal


def types_on(*terminals: Terminal) -> None:
    for terminal in terminals:
        number = next(_numbers)
        terminal.type(f"echo typed-{number}\r")
        terminal.expect(f"typed-{number}\r\n")


def keeps_typing(secs: float, *terminals: Terminal) -> None:
    """Each terminal echoes in its shell for `secs`, at a steady pace."""
    give_up_at = time.monotonic() + secs
    for number in itertools.count():
        for terminal in terminals:
            terminal.type(f"echo going-on-{number}-$((1+1))\r")
            terminal.expect(f"going-on-{number}-2\r\n")
        if time.monotonic() > give_up_at:
            return
        time.sleep(0.5)
