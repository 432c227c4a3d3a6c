"""The processor's share is a mean over the last seconds, however often it is asked for."""

import pytest

from netstacks.instance.load_meter import WINDOW_SECS, LoadMeter


class Clocks:
    """Both clocks of a process."""

    def __init__(self) -> None:
        self.now, self.cpu_secs = 1000.0, 7.0
        self.meter = LoadMeter(lambda: self.now, lambda: self.cpu_secs)

    def share_after(self, secs: float, used: float) -> float:
        """The share after so many seconds more, during which this share was used."""
        self.now += secs
        self.cpu_secs += secs * used
        return self.meter.cpu_share()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_processor_time_before_the_meter_began_does_not_count(clocks: Clocks) -> None:
    assert clocks.share_after(0, 0) == 0
    assert clocks.share_after(2, 0.5) == pytest.approx(0.5)


def test_a_short_burst_is_averaged_over_the_window(clocks: Clocks) -> None:
    for _ in range(10):
        assert clocks.share_after(2, 0) == 0
    assert clocks.share_after(2, 1) == pytest.approx(2 / WINDOW_SECS)


def test_samples_older_than_the_window_are_forgotten(clocks: Clocks) -> None:
    for _ in range(10):
        clocks.share_after(2, 1)
    shares = [clocks.share_after(2, 0) for _ in range(round(WINDOW_SECS / 2))]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0)


def test_frequent_questions_do_not_shorten_the_window(clocks: Clocks) -> None:
    for _ in range(10):
        clocks.share_after(2, 1)
    assert clocks.share_after(0.01, 0) == pytest.approx(1, abs=0.01)
    for _ in range(50):
        share = clocks.share_after(0.01, 0)
    assert share > 0.9


def test_a_gap_longer_than_the_window_counts_as_a_whole(clocks: Clocks) -> None:
    assert clocks.share_after(60, 0.3) == pytest.approx(0.3)
