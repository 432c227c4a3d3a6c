"""A stall of the loop is reported while it lasts: by function and line, without values, and not too often."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from netstacks import greenlets
from netstacks.instance import stall_reporter
from netstacks.instance.stall_reporter import StallReporter
from tests.controller import until


class Loop:
    """The loop as the reporter sees it: the time of the next tick."""

    def __init__(self) -> None:
        self.due_at = 0.0
        self.ticks = False
        self.is_over = False
        self.asked = 0

    def __call__(self) -> float:
        if self.is_over:
            raise SystemExit  # Ends the reporter's thread.
        self.asked += 1
        # Due by now, and so ticked by the next look.
        return time.monotonic() - stall_reporter.STALL_SECS if self.ticks else self.due_at


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.is_over = True


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def stalls(lines: list[Any]) -> list[Any]:
    """Threads of earlier tests may log beside them."""
    return [each for each in lines if each["event"] == "loop.stands_still"]


def hold_the_loop(password: str, lines: list[Any]) -> None:
    until(lambda: len(password) and stalls(lines), "a line")


def test_a_function_that_holds_the_loop_is_named_without_its_values(loop: Loop, lines: list[Any]) -> None:
    loop.due_at = time.monotonic()
    StallReporter(loop).start()
    hold_the_loop("hunter2", lines)
    line = stalls(lines)[0]
    assert f"{__name__}.hold_the_loop:" in line["stack"]
    assert "hunter2" not in str(line)
    assert line["for_secs"] >= stall_reporter.STALL_SECS


def test_a_loop_that_ticks_in_time_is_not_reported(loop: Loop, lines: list[Any]) -> None:
    loop.ticks = True
    StallReporter(loop).start()
    until(lambda: loop.asked > 10, "some looks")
    assert stalls(lines) == []


def test_a_second_stall_soon_after_the_first_is_not_reported(
    loop: Loop, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall_reporter, "_PAUSE_SECS", 0.5)
    loop.due_at = time.monotonic()
    began_at = time.monotonic()
    StallReporter(loop).start()
    until(lambda: len(stalls(lines)) >= 3, "three lines")
    told = len(stalls(lines))
    assert time.monotonic() - began_at >= (told - 1) * 0.5


def test_a_stall_that_goes_on_after_the_process_was_frozen_is_reported(
    loop: Loop, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []

    def freeze_at_first(secs: float) -> None:
        slept.append(secs)
        time.sleep(secs + 3 * stall_reporter.STALL_SECS if len(slept) == 1 else secs)

    monkeypatch.setattr(greenlets, "sleep_in_thread", freeze_at_first)
    loop.due_at = time.monotonic()
    StallReporter(loop).start()
    until(lambda: stalls(lines), "a line")
    assert len(slept) > 1
