"""Spawning, deadlines and periodic work."""

import _socket
import os
import time
from collections.abc import Iterator
from typing import Any

import gevent.socket
import pytest
import structlog

from netstacks import greenlets
from netstacks.errors import StoreUnavailable
from tests.waits import until


def test_a_deadline_raises_the_given_error_and_nothing_once_it_is_left() -> None:
    with pytest.raises(StoreUnavailable, match="too late"), greenlets.deadline(0.01, StoreUnavailable("too late")):
        greenlets.sleep(60)
    with greenlets.deadline(0.01, StoreUnavailable("never")):
        pass
    greenlets.sleep(0.05)


def test_an_inner_deadline_does_not_swallow_the_outer_one() -> None:
    outer = greenlets.deadline(0.01, StoreUnavailable("outer"))
    inner = greenlets.deadline(60, StoreUnavailable("inner"))
    with pytest.raises(StoreUnavailable, match="outer"), outer, inner:
        greenlets.sleep(60)


def test_an_error_of_the_block_passes_through() -> None:
    with pytest.raises(KeyError), greenlets.deadline(60, StoreUnavailable("late")):
        raise KeyError


def test_a_crash_reaches_the_log_with_the_greenlets_name() -> None:
    def crash() -> None:
        raise ValueError("boom")

    with structlog.testing.capture_logs() as logs:
        greenlets.joinall([greenlets.spawn("doomed", crash)])
        greenlets.sleep(0)
    # Greenlets that an earlier test has left behind may log, too.
    assert [entry["event"] for entry in logs if entry.get("greenlet") == "doomed"] == ["greenlet.crashed"]


def test_a_failed_round_does_not_end_the_period() -> None:
    rounds: list[Any] = []
    enough = greenlets.Event()

    def fail() -> None:
        rounds.append(None)
        if len(rounds) == 3:
            enough.set()
        raise ValueError

    periodic = greenlets.Periodic("failing", fail, 0.001)
    with structlog.testing.capture_logs() as logs:
        periodic.start()
        assert enough.wait(30)
        periodic.stop()
    assert {entry["event"] for entry in logs} >= {"periodic.failed"}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_a_watch_is_woken_by_others(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    watch = greenlets.Watch(reader)
    waiting = greenlets.spawn("waiting", watch.wait, read=True)
    greenlets.sleep(0)
    assert not waiting.ready()
    watch.wake()
    waiting.join(30)
    assert waiting.ready()
    os.write(writer, b"x")
    watch.wait(read=True)
    watch.close()


def test_a_watch_calls_once_for_each_call(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    watch = greenlets.Watch(reader)
    calls: list[str] = []
    for occasion, happen in (
        ("output", lambda: os.write(writer, b"x")),
        ("more of it", lambda: None),
        ("a wake-up", lambda: (os.read(reader, 2), watch.wake())),
        ("the end", watch.close),
    ):
        watch.call(lambda occasion=occasion: calls.append(occasion))
        happen()
        until(lambda occasion=occasion: occasion in calls, occasion)
        greenlets.sleep(0.02)
    assert calls == ["output", "more of it", "a wake-up", "the end"]


def test_a_watch_without_a_waiter_remembers_one_wake_up(pipe: tuple[int, int]) -> None:
    watch = greenlets.Watch(pipe[0])
    calls: list[bool] = []
    watch.wake()
    watch.call(lambda: calls.append(True))
    greenlets.sleep(0.02)
    watch.call(lambda: calls.append(True))
    greenlets.sleep(0.02)
    assert len(calls) == 1
    watch.close()


def test_a_call_that_comes_in_the_same_turn_as_the_end_of_the_wait_is_not_lost() -> None:
    read_end, write_end = os.pipe()
    watch = greenlets.Watch(read_end)
    before = greenlets.Timer(0.02, watch.wake)
    with before:
        assert watch.wait(read=True, timeout_secs=0.02)
    assert not watch.wait(read=True, timeout_secs=0.01)
    watch.close()
    os.close(read_end)
    os.close(write_end)


def test_a_wait_ends_when_its_time_is_over_and_when_there_is_something_to_read() -> None:
    read_end, write_end = os.pipe()
    watch = greenlets.Watch(read_end)
    assert not watch.wait(read=True, timeout_secs=0.01)
    os.write(write_end, b"x")
    assert watch.wait(read=True, timeout_secs=10)
    watch.close()
    os.close(read_end)
    os.close(write_end)


def test_a_background_greenlet_that_an_error_has_ended_is_dead_and_one_that_is_done_is_not() -> None:
    failing = greenlets.Background("failing", lambda: 1 / 0)
    done = greenlets.Background("done", lambda: None)
    assert not failing.has_died
    for each in (failing, done):
        each.start()
        assert each.join(30)
    assert failing.has_died
    assert not done.has_died


def test_silent_name_servers_hold_up_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = os.pipe()

    def silent(*_: object) -> list[object]:
        os.read(pipe[0], 1)
        return []

    monkeypatch.setattr(_socket, "getaddrinfo", silent)
    greenlets.use_lookup_threads()
    # More than the threads that the hub has for everything.
    waiting = [greenlets.spawn(f"lookup-{number}", gevent.socket.getaddrinfo, "x", 1) for number in range(12)]
    greenlets.sleep(0.05)
    assert greenlets.in_thread(sum, [1, 2]) == 3
    os.write(pipe[1], b"x" * len(waiting))
    greenlets.joinall(waiting)
    assert all(each.successful() for each in waiting)


def test_greenlets_that_work_for_long_leave_others_their_turns() -> None:
    steps: list[str] = []

    def work(name: str) -> None:
        for _ in range(1_000_000):
            if "over" in steps[-1:]:
                break
            sum(range(2000))
            steps.append(name)
            greenlets.give_way()

    workers = [greenlets.spawn("worker", work, name) for name in "ab"]
    for _ in range(20):
        greenlets.sleep(0.001)
    assert 0 < steps.count("a") < 1_000_000
    assert 0 < steps.count("b") < 1_000_000
    steps.append("over")
    greenlets.joinall(workers)


def test_a_short_step_does_not_give_way() -> None:
    others: list[int] = []
    gave_way = 0
    for number in range(100):
        greenlets.sleep(0.001)
        greenlets.spawn("other", others.append, number)
        greenlets.give_way()
        gave_way += number in others
    # Now and then the machine itself makes a step long.
    assert gave_way < 100


def test_a_timer_that_is_started_after_a_stall_does_not_fire_at_once() -> None:
    fired_at: list[float] = []
    greenlets.sleep(0.001)
    # The stall is longer than the timer, which is far longer than the wait inside.
    stall_until = time.monotonic() + 1.2
    while time.monotonic() < stall_until:
        pass
    began_at = time.monotonic()
    with greenlets.Timer(1.0, lambda: fired_at.append(time.monotonic())):
        greenlets.sleep(0.01)
    # The machine itself may pause for as long as that.
    assert not [at for at in fired_at if at - began_at < 0.9]


def test_a_wait_that_begins_after_a_stall_is_not_cut_short() -> None:
    reader, writer = os.pipe()
    watch = greenlets.Watch(reader)
    greenlets.sleep(0.001)
    # The stall is longer than the wait.
    stall_until = time.monotonic() + 1.2
    while time.monotonic() < stall_until:
        pass
    greenlets.spawn("writer", os.write, writer, b"x")
    began_at = time.monotonic()
    # The machine itself may pause for as long as that.
    assert watch.wait(read=True, timeout_secs=1.0) or time.monotonic() - began_at >= 0.9
    watch.close()
    os.close(reader)
    os.close(writer)


def test_a_connection_is_readable_when_data_or_its_end_has_come() -> None:
    ours, theirs = gevent.socket.socketpair()
    assert not greenlets.is_readable(ours.fileno())
    theirs.send(b"x")
    assert greenlets.is_readable(ours.fileno())
    ours.recv(1)
    theirs.close()
    assert greenlets.is_readable(ours.fileno())
    ours.close()
    assert greenlets.is_readable(ours.fileno())


def test_a_timer_that_is_restarted_ends_at_its_new_time() -> None:
    fired = greenlets.Event()
    timer = greenlets.Timer(3600, fired.set)
    with timer:
        timer.restart(0.01)
        assert fired.wait(60)
