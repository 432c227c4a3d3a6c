"""The steps of a circuit, by table."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from netstacks.cluster import circuits
from netstacks.cluster.circuits import MAX_OPEN_SECS, Circuit

NOW = 1000.0
OPEN = Circuit("open", 5, 900.0, 1030.0, "timed out", version=7, changed_at=900.0)
DUE = replace(OPEN, open_until=NOW)
HALF_OPEN = replace(DUE, state="half-open", probe="a/1", probe_until=1035.0, changed_at=NOW)
CLOSED = Circuit("closed", 0, version=7, changed_at=800.0)


def test_failures_are_counted_and_a_success_forgets_them() -> None:
    once = circuits.failed(CLOSED, "reset")
    twice = circuits.failed(once, "timed out")
    assert (once.failures, twice.failures, twice.reason) == (1, 2, "timed out")
    assert circuits.succeeded(twice) == replace(CLOSED, version=10)


@pytest.mark.parametrize(("same", "step"), [
    (CLOSED, circuits.succeeded),
    (CLOSED, lambda circuit: circuits.closed(circuit, NOW)),
    (OPEN, lambda circuit: circuits.opened(circuit, NOW, 30, "again")),
    (OPEN, lambda circuit: circuits.opened(circuit, NOW, 5, "again")),
])  # fmt: skip
def test_a_step_without_a_change_returns_the_same_object(same: Circuit, step: Callable[[Circuit], Circuit]) -> None:
    assert step(same) is same


@pytest.mark.parametrize(("secs", "until"), [
    (30.0, NOW + 30),
    (0.0, NOW + 1),
    (-5.0, NOW + 1),
    (1e9, NOW + MAX_OPEN_SECS),
    (float("inf"), NOW + MAX_OPEN_SECS),
    (float("nan"), NOW + 1),
])  # fmt: skip
def test_a_deadline_is_bounded(secs: float, until: float) -> None:
    opened = circuits.opened(CLOSED, NOW, secs, "busy")
    assert opened == replace(
        CLOSED, state="open", opened_at=NOW, open_until=until, reason="busy", changed_at=NOW, version=8
    )


@pytest.mark.parametrize("order", [(20.0, 90.0), (90.0, 20.0)])
def test_the_later_deadline_wins_whichever_comes_first(order: tuple[float, float]) -> None:
    circuit = CLOSED
    for secs in order:
        circuit = circuits.opened(circuit, NOW, secs, f"{secs:g} s")
    assert (circuit.open_until, circuit.reason) == (NOW + 90, "90 s")


def test_opening_anew_keeps_the_moment_of_the_first_opening() -> None:
    for circuit in (DUE, HALF_OPEN):
        assert circuits.opened(circuit, NOW, 30, "again").opened_at == 900.0


@pytest.mark.parametrize(("circuit", "due"), [
    (CLOSED, False),
    (OPEN, False),
    (DUE, True),
    (HALF_OPEN, False),
    (replace(HALF_OPEN, probe_until=NOW), True),
    (replace(DUE, probe="a/1", probe_until=1035.0), False),
    (replace(OPEN, open_until=NOW + MAX_OPEN_SECS + 1), False),
    (replace(OPEN, open_until=NOW + MAX_OPEN_SECS + 60), False),
    (replace(OPEN, open_until=NOW + MAX_OPEN_SECS + 61), True),
    (replace(OPEN, open_until=NOW + 86400), True),
    (replace(HALF_OPEN, probe_until=NOW + 86400), True),
])  # fmt: skip
def test_a_probe_is_due_after_the_deadline_and_without_a_living_lease(circuit: Circuit, due: bool) -> None:
    assert circuits.is_due(circuit, NOW) is due
    leased = circuits.leased(circuit, "b/1", NOW, 35)
    assert (leased is not None) is due
    if leased is not None:
        assert (leased.state, leased.probe, leased.probe_until) == ("half-open", "b/1", NOW + 35)
        assert (leased.version, leased.changed_at) == (circuit.version + 1, NOW)
        assert circuits.leased(leased, "c/1", NOW + 34, 35) is None


@pytest.mark.parametrize("step", [
    lambda circuit: circuits.opened(circuit, NOW, 1, "busy"),
    lambda circuit: circuits.opened(circuits.closed(circuit, NOW), NOW, 1, "timed out"),
])  # fmt: skip
def test_a_lease_outlasts_a_change_of_state_because_its_probe_does(step: Callable[[Circuit], Circuit]) -> None:
    changed = step(HALF_OPEN)
    assert not circuits.is_due(changed, NOW + 2)
    assert circuits.is_due(circuits.released(changed), NOW + 2)


def test_closing_forgets_everything_but_the_lease() -> None:
    closed = circuits.closed(HALF_OPEN, NOW + 5)
    assert circuits.released(closed) == Circuit(changed_at=NOW + 5, version=closed.version + 1)


LATER = replace(OPEN, open_until=1090.0, changed_at=950.0)


@pytest.mark.parametrize(("ours", "theirs", "wins"), [
    (OPEN, Circuit(), "ours"),
    (OPEN, replace(OPEN, version=3), "theirs"),
    (LATER, OPEN, "ours"),
    (OPEN, LATER, "theirs"),
    (OPEN, replace(CLOSED, changed_at=950.0), "theirs"),
    (OPEN, CLOSED, "ours"),
    (replace(CLOSED, changed_at=950.0), OPEN, "ours"),
    (CLOSED, OPEN, "theirs"),
    (HALF_OPEN, OPEN, "theirs"),
    (HALF_OPEN, DUE, "ours"),
    (DUE, HALF_OPEN, "theirs"),
    (HALF_OPEN, replace(HALF_OPEN, probe="b/1", changed_at=1001.0), "theirs"),
    (replace(HALF_OPEN, probe="b/1", changed_at=1001.0), HALF_OPEN, "theirs"),
    (replace(CLOSED, failures=3), CLOSED, "ours"),
    (CLOSED, replace(CLOSED, failures=3), "theirs"),
    # Without a newer fact in ours, theirs is kept.
    (replace(CLOSED, changed_at=950.0), CLOSED, "theirs"),
    (replace(CLOSED, changed_at=900.0), OPEN, "theirs"),
    (replace(DUE, reason="reset"), DUE, "theirs"),
])  # fmt: skip
def test_steps_taken_while_the_registry_was_away_are_merged(ours: Circuit, theirs: Circuit, wins: str) -> None:
    merged = circuits.merged(ours, theirs)
    if wins == "theirs":
        assert merged is theirs
    else:
        assert merged == replace(ours, version=merged.version)
        assert merged.version > max(ours.version, theirs.version)
