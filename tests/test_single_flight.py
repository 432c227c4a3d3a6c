"""One run for many callers."""

import pytest

from netstacks import greenlets


class Work:
    """Takes as long as the test wants; each run returns its number."""

    def __init__(self) -> None:
        self.begun = 0
        self.error: Exception | None = None
        self.may_end = greenlets.Event()
        self.flight = greenlets.SingleFlight("work", self._work)

    def _work(self) -> int:
        self.begun += 1
        number = self.begun
        self.may_end.wait()
        if self.error is not None:
            raise self.error
        return number

    def callers(self, count: int) -> list[greenlets.Greenlet]:
        spawned = [greenlets.spawn("caller", self.flight) for _ in range(count)]
        greenlets.sleep(0.01)
        return spawned


def test_each_caller_gets_a_run_that_began_after_its_call() -> None:
    work = Work()
    first, late = work.callers(1), work.callers(50)
    assert work.begun == 1
    work.may_end.set()
    greenlets.joinall(first + late, timeout=30)
    assert {each.value for each in first} == {1}
    assert {each.value for each in late} == {2}
    assert work.flight() == 3


def test_runs_do_not_overlap_and_nothing_runs_unasked() -> None:
    work = Work()
    work.flight.begin()
    greenlets.sleep(0.01)
    ran = [work.flight.begin() for _ in range(3)]
    assert work.begun == 1
    work.may_end.set()
    assert [each.get(timeout=30) for each in ran] == [2, 2, 2]
    greenlets.sleep(0.01)
    assert work.begun == 2


def test_an_error_reaches_every_caller_of_its_run_and_ends_nothing() -> None:
    work = Work()
    work.error = ValueError("boom")
    callers = work.callers(1) + work.callers(3)
    work.may_end.set()
    greenlets.joinall(callers, timeout=30)
    assert [str(each.exception) for each in callers] == ["boom"] * 4
    assert work.begun == 2
    with pytest.raises(ValueError, match="boom"):
        work.flight()
    work.error = None
    assert work.flight() == 4
