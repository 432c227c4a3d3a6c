"""The cost of a redraw depends on the device's output, up to a budget."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from pyte.screens import StaticDefaultDict

from netstacks.terminal import frames
from netstacks.terminal.screen import TAIL_BYTES, redraw
from netstacks.terminal.screen_budget import Budget, OverBudget

CELLS = 200_000
LARGEST = (frames.MAX_COLS, frames.MAX_ROWS)
# Every cell has a character of its own, so that nothing is quick because it is empty.
FULL = b"\x1b#8\x1b[H"
# A beginning, and what follows as often as a redraw looks back.
FLOODS = {
    "alignment": (b"", b"\x1b#8"),
    "erase all": (FULL, b"\x1b[2J"),
    "erase below": (FULL, b"\x1b[J"),
    "erase above": (FULL + b"\x1b[999;999H", b"\x1b[1J"),
    "erase line": (FULL, b"\x1b[2K"),
    "erase characters": (FULL, b"\x1b[9999X"),
    "insert characters": (FULL, b"\x1b[@"),
    "delete characters": (FULL, b"\x1b[P"),
    "insert lines": (FULL, b"\x1b[L"),
    "delete lines": (FULL, b"\x1b[M"),
    "scroll a region": (FULL + b"\x1b[2;999r\x1b[999;1H", b"\n"),
    "scroll back": (FULL, b"\x1bM"),
    "insert mode": (FULL + b"\x1b[4h", b"\x1b[Hx"),
    "insert mode, a run": (FULL + b"\x1b[4h\x1b[H", b"x"),
    "reversed screen": (FULL, b"\x1b[?5h\x1b[?5l"),
    "reversed screen by number": (FULL, b"\x1b[160h"),
    "columns": (FULL, b"\x1b[?3h\x1b#8\x1b[?3l"),
    "C1 in one piece": (FULL, "\x9b2J".encode()),
    "alternate screens": (FULL, b"\x1b[?1049h\x1b#8\x1b[?1049l"),
    "reset": (FULL, b"\x1bc\x1b#8"),
}


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test, whatever suppresses exceptions, as soon as more cells have been written than a budget has."""
    written = 0

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(dict, name)

        def write(row: dict[int, Any], *arguments: Any) -> Any:
            nonlocal written
            written += len(row) if name == "update" else 1
            if written > CELLS:
                pytest.fail(f"{written} cells")
            return original(row, *arguments)

        return write

    for name in ("__setitem__", "update"):
        monkeypatch.setattr(StaticDefaultDict, name, counted(name), raising=False)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("size", [(80, 24), LARGEST], ids=["80x24", "largest"])
@pytest.mark.parametrize("flood", FLOODS)
def test_no_more_cells_are_written_than_the_budget_has(flood: str, size: tuple[int, int]) -> None:
    begin, repeated = FLOODS[flood]
    output = begin + repeated * ((TAIL_BYTES - len(begin)) // len(repeated))
    with contextlib.suppress(OverBudget):
        redraw(output, *size, unhurried(CELLS))


COLUMNS, ROWS = LARGEST
AREA = COLUMNS * ROWS
# What is drawn, and what it is charged at least: what pyte does for it, step by step.
CHARGES = {
    "characters combined in one cell": ("e" + "\u0301" * 2000, 2000 * 2000 // 2),
    "characters combined one by one": ("e" + "\u0301\x07" * 2000, 2000 * 2000 // 2),
    "tab stops": ("\x1bH\x1b[C" * COLUMNS + "\r\t" * 1000, 1000 * COLUMNS),
    "scroll a region": ("\x1b[2;999r\x1b[999;1H" + "\n" * 1000, 1000 * ROWS),
    "scroll back": ("\x1bM" * 1000, 1000 * ROWS),
    "insert lines": ("\x1b[L" * 1000, 1000 * ROWS),
    "delete lines": ("\x1b[M" * 1000, 1000 * ROWS),
    "narrower": ("\x1b[2J" + "\x1b[?3h\x1b[?3l" * 10, 10 * ROWS * (COLUMNS - 132)),
    "reset": ("\x1bc" * 1000, 1000 * ROWS),
    "text": (("x" * COLUMNS + "\r") * 40, 40 * COLUMNS),
    "renditions": ("".join(f"\x1b[{number};{number}m" for number in range(2000)), 2000 * 50),
    "tokens": ("\x07" * 20_000, 20 * 20_000),
    "parser": ("\x00" * 20_000, 10 * 20_000),
    "painting": ("\x1b#8", AREA * 8),
    "painting characters of any width": ("\x1b#8" + "\r\né" * ROWS, AREA * 16),
    "painting two screens": ("\x1b#8\x1b[?1049h\x1b#8", 2 * AREA * 8),
}


@pytest.mark.parametrize("drawn", CHARGES)
def test_work_is_charged_by_its_steps(drawn: str) -> None:
    output, least = CHARGES[drawn]
    budget = unhurried(10_000_000)
    redraw(output.encode(), *LARGEST, budget)
    assert budget.spent >= least


@pytest.mark.parametrize(
    "output",
    [
        b"x\x1b[99999b" * 3000,
        b"\x1b[999999999999;999999999999H\x1b[99999999C" * 700,
        b"\x1b[" + b"1;" * 16_000 + b"m",
        b"\x1b[" + b"1" * 32_000 + b"m",
        b"\x1b[3g\x1b[g" * 4000,
        b"\x1b7" * 16_000 + b"\x1b8",
        b"\x1b]0;" + b"x" * 32_000,
        b"\x1bP" * 16_000,
        b"lab$ \x1b[?1049h\x1b[H~" * 1500,
    ],
    ids=["repeat", "far away", "parameters", "digits", "tab stops", "saved cursors", "title", "strings", "screens"],
)
def test_output_that_only_looks_costly_is_redrawn(output: bytes) -> None:
    redraw(output, 80, 24, unhurried(2_000_000))


def unhurried(cells: int) -> Budget:
    return Budget(cells, math.inf, rest=lambda _: None)


class Clock:
    """A second passes from one look to the next."""

    def __init__(self) -> None:
        self.now = 100.0
        self.rests: list[float] = []

    def read(self) -> float:
        self.now += 1.0
        return self.now


def spend(budget: Budget, cells: int) -> None:
    for _ in range(cells // 1000):
        budget.charge(1000)


def test_a_slow_host_ends_it_by_time() -> None:
    clock = Clock()
    budget = Budget(1_000_000_000, 5.0, clock=clock.read, rest=clock.rests.append)
    with pytest.raises(OverBudget):
        spend(budget, 1_000_000)
    with pytest.raises(OverBudget):
        budget.charge(1)


def test_a_thread_rests_for_as_long_as_it_has_computed() -> None:
    clock = Clock()
    spend(Budget(1_000_000, math.inf, clock=clock.read, rest=clock.rests.append), 500_000)
    assert clock.rests
    assert set(clock.rests) == {1.0}


def test_work_is_refused_before_it_is_done() -> None:
    budget = unhurried(1000)
    budget.charge(999)
    for _ in range(2):
        with pytest.raises(OverBudget):
            budget.charge(2)


def test_a_cancelled_redraw_ends_at_its_next_look() -> None:
    budget = unhurried(1_000_000)
    budget.charge(1)
    budget.cancel()
    with pytest.raises(OverBudget):
        spend(budget, 100_000)
    assert budget.spent < 100_000
