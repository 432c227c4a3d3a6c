"""Limits of idle time and of duration: who is warned, who is ended, and by which clock."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks.instance.session_times import Remaining, SessionTimes, remaining
from netstacks.store.setting_definitions import IDLE_MINUTES, MAX_HOURS
from tests.instance.test_opener import World

MINUTE, HOUR = 60.0, 3600.0


def left(idle_secs: float = 0.0, age_secs: float = 0.0, *, idle: float = 0.0, longest: float = 0.0) -> Remaining | None:
    return remaining(idle_secs=idle_secs, age_secs=age_secs, idle_limit_secs=idle, longest_secs=longest)


def test_without_limits_nothing_ends() -> None:
    assert left(10 * HOUR, 1000 * HOUR) is None


def test_the_limit_that_is_reached_first_counts() -> None:
    first = left(0, 50 * MINUTE, idle=30 * MINUTE, longest=HOUR)
    assert first is not None
    assert (first.kind, first.secs) == ("longest", 10 * MINUTE)
    second = left(25 * MINUTE, 50 * MINUTE, idle=30 * MINUTE, longest=HOUR)
    assert second is not None
    assert (second.kind, second.secs) == ("idle", 5 * MINUTE)


@pytest.mark.parametrize(
    ("limit_minutes", "idle_minutes", "warning"),
    [
        (30, 24.9, None),
        (30, 25, 300),
        (30, 28.9, 300),
        (30, 29, 60),
        (30, 29.99, 60),
        # A limit that is no longer than a warning's time has no such warning.
        (5, 1, None),
        (5, 4, 60),
        (1, 0.5, None),
    ],
)
def test_warnings_are_due_5_minutes_and_1_minute_before(
    limit_minutes: float, idle_minutes: float, warning: float | None
) -> None:
    found = left(idle_minutes * MINUTE, idle=limit_minutes * MINUTE)
    assert found is not None
    assert found.warning == warning


class Times:
    """The times of one session's world, whose clock the test moves."""

    def __init__(self, world: World, idle_minutes: int = 0, longest_hours: int = 0) -> None:
        device = world.device("r1")
        self.session = world.reopen(device.id)
        self.session.tell_user = self._tell  # type: ignore[method-assign]
        self.told: list[str] = []
        self.audited: list[tuple[str, dict[str, Any]]] = []
        self.passed = 0.0
        self.values = {IDLE_MINUTES.key: idle_minutes, MAX_HOURS.key: longest_hours}
        settings: Any = SimpleNamespace(get=lambda setting: self.values[setting.key])
        self.times = SessionTimes(
            world.hub,
            settings,
            cast(Any, SimpleNamespace(put=self._audit)),
            clock=lambda: self.session.recording.printed_at + self.passed,
            now=lambda: self.session.facts.started_at + self.passed,
        )

    def _tell(self, text: str) -> None:
        self.told.append(text)

    def _audit(self, _: Any, actor: Any, event: str, resource: str, **details: Any) -> None:
        self.audited.append((event, {"actor": actor.name, "resource": resource, **details}))

    def at(self, secs: float) -> None:
        self.passed = secs
        self.times.look()


def test_an_idle_session_is_warned_twice_then_ends_with_its_reason_in_the_audit_log(database: Any) -> None:
    times = Times(World(database), idle_minutes=10)
    times.at(4 * MINUTE)
    assert times.told == []
    for secs in (5 * MINUTE, 6 * MINUTE):
        times.at(secs)
    assert times.told == ["this session ends in 5 minutes: it has no input and no output. Any key keeps it open"]
    times.at(9 * MINUTE)
    assert times.told[1:] == ["this session ends in 1 minute: it has no input and no output. Any key keeps it open"]
    assert times.session.is_live
    times.at(10 * MINUTE)
    assert times.session.end_reason == "no input and no output for 10 minutes, the limit that an administrator has set"
    [(event, details)] = times.audited
    assert (event, details["reason"]) == ("session.time_over", times.session.end_reason)


def test_output_and_input_keep_a_session_and_renew_its_warnings(database: Any) -> None:
    times = Times(World(database), idle_minutes=10)
    times.at(6 * MINUTE)
    times.session.recording.printed_at += 6 * MINUTE
    times.at(0)
    assert times.session.is_live
    times.at(6 * MINUTE)
    assert len(times.told) == 2
    # A key: the device has not answered.
    times.session._input.typed_at = times.session.recording.printed_at + 9 * MINUTE
    times.at(15 * MINUTE)
    assert times.session.is_live
    times.at(19 * MINUTE)
    assert not times.session.is_live


def test_a_busy_session_ends_after_the_longest_time(database: Any) -> None:
    times = Times(World(database), idle_minutes=10, longest_hours=1)
    times.session._input.typed_at = times.session.recording.printed_at + HOUR
    times.at(HOUR - 5 * MINUTE)
    assert times.told == ["this session ends in 5 minutes: an administrator allows sessions of 1 hour"]
    times.at(HOUR)
    assert times.session.end_reason == "it has lasted 1 hour, the longest time that an administrator allows"


def test_a_limit_that_is_lifted_spares_the_session(database: Any) -> None:
    times = Times(World(database), idle_minutes=10)
    times.at(9 * MINUTE)
    times.values[IDLE_MINUTES.key] = 0
    times.at(HOUR)
    assert times.session.is_live
