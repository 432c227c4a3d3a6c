"""`python -m bench.redraw`: what a redraw costs, beside one that shows pyte everything, piece by piece.

That was ours before: `careful`. Each kind of output is as long as a redraw looks back. Its ratios mean something on any
machine; absolute values do not.
"""

import argparse
import random
import time
from collections.abc import Callable
from uuid import uuid4

from bench.report import Results, Row, at_most
from netstacks import greenlets
from netstacks.terminal import redraws
from netstacks.terminal.screen import TAIL_BYTES
from tests.terminal import careful_screen

_AT_ONCE = 20
_WINDOWS = ((80, 24), (200, 60))
_TICK_SECS = 0.001

Redraw = Callable[[bytes, int, int], bytes]


def _config(random: random.Random, _: int) -> bytes:
    port = random.randrange(1, 49)
    return (
        b"interface GigabitEthernet1/0/%d\r\n description uplink to access-%d, rack %d\r\n switchport mode trunk\r\n"
        b" ip address 10.%d.%d.1 255.255.255.0\r\n no shutdown\r\n!\r\n" % (port, port, port % 7, port, port % 9)
    )


def _ls(random: random.Random, _: int) -> bytes:
    names = (
        b"\x1b[01;%dmfile%05d.txt\x1b[0m" % (random.choice((32, 34, 36)), random.randrange(99999)) for _ in "12345"
    )
    return b"  ".join(names) + b"\r\n"


def _log(random: random.Random, _: int) -> bytes:
    return (
        b"*Mar  1 00:%02d:%02d.%03d: %%LINEPROTO-5-UPDOWN: Line protocol on Interface Gi0/%d, changed state to %s\r\n"
        % (
            random.randrange(60),
            random.randrange(60),
            random.randrange(1000),
            random.randrange(48),
            random.choice((b"up", b"down")),
        )
    )


def _switch(random: random.Random, rows: int) -> bytes:
    """A ProCurve names the bottom row with each line."""
    bottom = b"\x1b[%d;1H" % rows
    line = b'\r\n   name "uplink to access-%d"' % random.randrange(99)
    return bottom + b"\x1b[1;%dr" % rows + bottom + line + bottom + b"\x1b[?25h"


def _top(random: random.Random, rows: int) -> bytes:
    plain = b"\x1b(B\x1b[m\x1b[39;49m"
    lines = [b"top - 10:%02d:07 up 5 days, load average: 0.%02d" % (random.randrange(60), random.randrange(99))]
    for name in (b"Tasks", b"%Cpu(s)", b"MiB Mem ", b"MiB Swap"):
        parts = (b"\x1b(B\x1b[m\x1b[1m %6d %s used%s" % (random.randrange(999), plain, plain) for _ in "1234")
        lines.append(name + b":" + plain + b",".join(parts))
    lines += [b"", b"\x1b[7m    PID USER      PR  NI    VIRT    RES  S  %CPU  %MEM     TIME+ COMMAND      "]
    for _ in range(rows - len(lines)):
        pid, hundredths = random.randrange(9999), random.randrange(99)
        lines.append(
            b"\x1b(B\x1b[m%7d root      20   0  168324  11468  S   0.0   0.1   0:12.%02d systemd" % (pid, hundredths)
        )
    return b"\x1b[H" + b"\r\n".join(line + plain + b"\x1b[K" for line in lines) + b"\x1b[J"


def _vim(random: random.Random, rows: int) -> bytes:
    words = (
        b"\x1b[33mdef \x1b[m",
        b"screen",
        b"(self, output)",
        b"\x1b[38;5;130mreturn \x1b[m",
        b"\x1b[1m\x1b[31mNone\x1b[m",
    )
    page = b"\x1b[?25l\x1b[H"
    for row in range(1, rows):
        page += b"\x1b[%d;1H%s\x1b[K" % (row, b" ".join(random.choices(words, k=random.randrange(5))))
    return page + b"\x1b[%d;63H%d,1\x1b[8C%d%%\x1b[1;1H\x1b[?25h" % (rows, random.randrange(999), random.randrange(99))


# The content of each screen, and the share of the careful redraw's cost that it may take.
OUTPUTS = {
    "show running-config": (_config, 0.1),
    "ls --color": (_ls, 0.15),
    "a flood of log lines": (_log, 0.1),
    "a switch that numbers the bottom row": (_switch, 0.1),
    "top": (_top, 0.25),
    "vim": (_vim, 0.4),
}
_BURST = f"{_AT_ONCE} at once"
ROWS = (
    *(
        Row(f"{name}, {cols} x {rows}", "ms", (at_most(bound, "careful"),))
        for name, (_, bound) in OUTPUTS.items()
        for cols, rows in _WINDOWS
    ),
    Row(_BURST, "ms", (at_most(0.1, "careful"),)),
    Row(f"{_BURST}: how late the loop is", "ms", (at_most(0.25, "careful"),)),
)


def _tail(name: str, rows: int) -> bytes:
    make, _ = OUTPUTS[name]
    seeded = random.Random(1)
    output = b""
    while len(output) < TAIL_BYTES:
        output += make(seeded, rows)
    return output[-TAIL_BYTES:]


def _ours(output: bytes, cols: int, rows: int) -> bytes:
    """A redraw by the product, each for a session of its own: those of one session would follow each other."""
    return redraws.redraw(uuid4(), output, cols, rows)


def _careful(output: bytes, cols: int, rows: int) -> bytes:
    return greenlets.in_thread(careful_screen.redraw, output, cols, rows)


def _cpu_ms(redraw: Redraw, output: bytes, cols: int, rows: int) -> float:
    began_at = time.process_time()
    redraw(output, cols, rows)
    return (time.process_time() - began_at) * 1000


def _burst_ms(redraw: Redraw, output: bytes, cols: int, rows: int) -> tuple[float, float]:
    """How long it takes until all screens are redrawn, and the most that the loop was late meanwhile."""
    began_at = time.monotonic()
    redraws = [greenlets.spawn("redraw", redraw, output, cols, rows) for _ in range(_AT_ONCE)]
    late_secs = 0.0
    while not all(one.ready() for one in redraws):
        at = time.monotonic()
        greenlets.sleep(_TICK_SECS)
        late_secs = max(late_secs, time.monotonic() - at - _TICK_SECS)
    return (time.monotonic() - began_at) * 1000, late_secs * 1000


def measure(rounds: int) -> Results:
    results = Results("netstacks", "careful")
    stacks: tuple[tuple[str, Redraw], ...] = (("netstacks", _ours), ("careful", _careful))
    tails = {(name, cols, rows): _tail(name, rows) for name in OUTPUTS for cols, rows in _WINDOWS}
    for (name, cols, rows), output in tails.items():
        if _ours(output, cols, rows) != careful_screen.redraw(output, cols, rows):
            raise RuntimeError(f"{name}: the redraws differ")
    for _ in range(rounds):
        for stack, call in stacks:
            for (name, cols, rows), output in tails.items():
                results.add(f"{name}, {cols} x {rows}", stack, _cpu_ms(call, output, cols, rows))
            all_ms, late_ms = _burst_ms(call, tails["show running-config", 80, 24], 80, 24)
            results.add(_BURST, stack, all_ms)
            results.add(f"{_BURST}: how late the loop is", stack, late_ms)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    print(measure(parser.parse_args().rounds).table(ROWS))


if __name__ == "__main__":
    main()
