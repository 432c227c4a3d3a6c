"""The rate at which terminals are opened."""

import pytest

from netstacks.cluster.pacing import LAG_SECS, MAX_LAG_SECS, Pace, Strain

CALM, SLOW_LOOP = Strain(0.0, 0), Strain(MAX_LAG_SECS * 2, 0)
BUSY_DATABASE = Strain(0.0, 100)


def taken(pace: Pace, secs: float) -> int:
    """How many are let in from now on, when a caller asks every hundredth of a second."""
    return sum(pace.take(step / 100) for step in range(round(secs * 100)))


def test_single_clients_are_admitted_at_once() -> None:
    pace = Pace(0.0)
    assert all(pace.take(float(at)) for at in range(1, 100))


def test_a_crowd_is_let_in_at_the_pace() -> None:
    pace = Pace(0.0)
    burst = taken(Pace(0.0), 0.01)
    assert taken(pace, 10) <= 10 * pace.per_sec + 20
    assert taken(Pace(0.0), 10) >= 10 * pace.per_sec
    assert burst == 1


def test_a_long_rest_does_not_let_a_crowd_in_at_once() -> None:
    pace = Pace(0.0)
    assert sum(pace.take(1000.0) for _ in range(1000)) <= pace.per_sec


def test_the_pace_rises_while_nothing_suffers_and_there_is_demand() -> None:
    pace = Pace(0.0)
    start = pace.per_sec
    pace.adapt(CALM, is_wanted=False)
    assert pace.per_sec == start
    pace.adapt(CALM, is_wanted=True)
    assert pace.per_sec > start


def test_the_pace_falls_when_the_loop_or_the_database_suffers_and_never_to_nothing() -> None:
    for strain in (SLOW_LOOP, BUSY_DATABASE):
        pace = Pace(0.0)
        start = pace.per_sec
        pace.adapt(strain, is_wanted=True)
        assert pace.per_sec < start
        for _ in range(1000):
            pace.adapt(strain, is_wanted=True)
        assert pace.per_sec > 0
        assert taken(pace, 60) > 0


def test_it_finds_what_can_be_borne() -> None:
    """On an instance whose loop is slow beyond 60 openings a second."""
    pace, tried = Pace(0.0), []
    for _ in range(400):
        pace.adapt(SLOW_LOOP if pace.per_sec > 60 else CALM, is_wanted=True)
        tried.append(pace.per_sec)
    assert 45 < sum(tried[100:]) / len(tried[100:]) < 62


def test_a_loop_that_is_a_little_late_slows_what_is_faster_than_planned_and_nothing_else() -> None:
    pace, late = Pace(0.0), Strain(LAG_SECS * 2, 0)
    planned = pace.per_sec
    while pace.per_sec < planned * 2:
        pace.adapt(CALM, is_wanted=True)
    for _ in range(100):
        pace.adapt(late, is_wanted=True)
    assert planned * 0.7 < pace.per_sec < planned * 1.1


@pytest.mark.parametrize(
    ("strain", "per_sec", "is_too_much"),
    [
        (Strain(MAX_LAG_SECS, 6), 25.0, False),
        (Strain(MAX_LAG_SECS + 0.001, 0), 25.0, True),
        (Strain(LAG_SECS, 6), 25.5, False),
        (Strain(LAG_SECS + 0.001, 0), 25.5, True),
        (Strain(0.0, 7), 25.0, True),
    ],
)
def test_the_limits_of_the_strain_belong_to_what_can_be_borne(
    strain: Strain, per_sec: float, is_too_much: bool
) -> None:
    assert strain.is_too_much_for(per_sec) == is_too_much


def test_a_burst_takes_the_last_permit() -> None:
    pace = Pace(0.0)
    assert [pace.take(0.0) for _ in range(12)] == [True] * 10 + [False] * 2
