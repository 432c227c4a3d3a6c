"""A loop that stands still is noticed, also by whichever greenlet runs first afterwards."""

import math
import time

import pytest

from netstacks import greenlets
from netstacks.instance import loop_watch
from netstacks.instance.loop_watch import LAG, LoopWatch
from tests.clocks import SteadyClock
from tests.waits import until


@pytest.fixture(autouse=True)
def no_reporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread would outlive the test (tests/instance/test_stall_reporter.py)."""
    monkeypatch.setattr(greenlets, "start_thread", lambda function: None)


def test_a_loop_that_turns_has_never_stood_still() -> None:
    # Longer than any pause of a slow machine.
    watch = LoopWatch(10.0)
    watch.start()
    # Two ticks and more.
    greenlets.sleep(0.25)
    assert watch.stood_still_at() == -math.inf
    assert not watch.is_blocked
    assert not watch.background.has_died


def test_a_gap_is_noticed_before_the_watch_itself_runs_again() -> None:
    watch = LoopWatch(0.1)
    watch.start()
    greenlets.sleep(0)
    before = time.monotonic()
    # The stall: longer than the gap and a tick.
    time.sleep(0.3)
    assert before < watch.stood_still_at() <= time.monotonic()


def test_a_loop_that_stands_still_more_than_it_runs_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "WINDOW_SECS", 1.0)
    watch = LoopWatch(10.0)
    watch.start()
    greenlets.sleep(0)
    # The stall: more than half of the window.
    time.sleep(0.9)
    until(lambda: watch.is_blocked, "the blocked loop")
    until(lambda: not watch.is_blocked, "the loop that runs again")


def test_a_loop_that_is_busy_and_goes_on_is_not_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "WINDOW_SECS", 3.0)
    # Each step is a tick and less than a stall.
    monkeypatch.setattr(loop_watch, "_now", SteadyClock(0.3).monotonic)
    watch = LoopWatch(10.0)
    watch.start()
    # Each tick, due every 0.1 s, is a little late.
    for _ in range(27):
        greenlets.sleep(0)
        time.sleep(0.11)
    assert not watch.is_blocked


def test_how_late_the_loop_was_is_counted() -> None:
    def slow() -> float:
        counts = {each.labels["le"]: each.value for each in LAG.collect()[0].samples if "le" in each.labels}
        return counts["+Inf"] - counts["0.1"]

    before = slow()
    LoopWatch(10.0).start()
    greenlets.sleep(0)
    # The stall: a tick that is later than 0.1 s.
    time.sleep(0.3)
    until(lambda: slow() > before, "the late tick")


def test_the_largest_lag_is_told_once() -> None:
    watch = LoopWatch(10.0)
    watch.start()
    greenlets.sleep(0)
    # The stall: the tick that was due meanwhile is late by the rest of it.
    time.sleep(0.4)
    greenlets.sleep(0.01)
    assert watch.take_largest_lag() >= 0.25
    assert watch.take_largest_lag() == 0.0
