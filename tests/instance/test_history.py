"""The last hour of every instance."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from netstacks.cluster.model import Sample
from netstacks.errors import RegistryUnavailable
from netstacks.instance import history
from netstacks.instance.history import POINTS, History
from netstacks.registry.memory import MemoryRegistry

NOW = 1_700_000_020.0  # 40 s after a full minute.
MINUTE = int(NOW // 60)


class Registry(MemoryRegistry):
    """Notes which samples were asked for."""

    def __init__(self) -> None:
        self.at = NOW
        super().__init__(clock=lambda: self.at)
        self.asked: list[dict[str, float]] = []
        self.is_away = False

    def samples(self, after: Mapping[str, float]) -> dict[str, list[Sample]]:
        if self.is_away:
            raise RegistryUnavailable("Valkey: connection refused")
        self.asked.append(dict(after))
        return super().samples(after)


def sample(at: float, **figures: Any) -> Sample:
    default = Sample(at, 1, 0.5, 0.001, 0.002, 50 << 20)
    return dataclasses.replace(default, **figures)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FRESH_SECS", 0)


def hours(watched: History) -> dict[str, history.Hour]:
    watched.refresh()
    # Only the first reading is waited for.
    if watched._look._run is not None:
        watched._look._run.join(60)
    return dict(watched.hours())


def test_a_minute_has_the_largest_of_delays_and_the_last_of_the_rest() -> None:
    registry = Registry()
    registry.add_samples(
        "a",
        [
            sample(NOW - 30, sessions=9, heartbeat_age_secs=7.0, loop_lag_secs=0.5, memory_bytes=90 << 20),
            sample(NOW - 20, sessions=3, valkey_latency_secs=0.25, memory_bytes=60 << 20),
        ],
    )
    hour = hours(History(registry, lambda: ["a"]))["a"]
    assert hour.began_at == (MINUTE - POINTS + 1) * 60
    series = (hour.sessions, hour.heartbeat_age_secs, hour.loop_lag_ms, hour.valkey_latency_ms, hour.memory_mib)
    assert [each[-1] for each in series] == [3, 7.0, 500.0, 250.0, 60]
    assert all(len(each) == POINTS and set(each[:-1]) == {None} for each in series)


def test_only_new_samples_are_read() -> None:
    registry = Registry()
    registry.add_samples("a", [sample(NOW - 30)])
    watched = History(registry, lambda: ["a", "b"])
    hours(watched)
    registry.add_samples("a", [sample(NOW - 10, sessions=4)])
    assert hours(watched)["a"].sessions[-1] == 4
    assert registry.asked == [{"a": 0.0}, {"b": 0.0}, {"b": 0.0}, {"a": NOW - 30}]


def test_all_hours_end_with_the_same_minute_and_old_points_disappear() -> None:
    registry = Registry()
    registry.add_samples("a", [sample(NOW - 60)])
    registry.add_samples("b", [sample(NOW - 59 * 60, sessions=2)])
    watched = History(registry, lambda: ["a", "b", "c"])
    found = hours(watched)
    assert {each.began_at for each in found.values()} == {(MINUTE - POINTS + 1) * 60}
    assert (found["a"].sessions[-2], found["b"].sessions[0]) == (1, 2)
    assert set(found["c"].sessions) == {None}
    registry.at += 60
    later = hours(watched)
    assert (later["a"].sessions[-3], later["b"].sessions[0]) == (1, None)


def test_an_instance_that_is_gone_is_forgotten() -> None:
    registry, ids = Registry(), ["a", "b"]
    watched = History(registry, lambda: ids)
    assert set(hours(watched)) == {"a", "b"}
    ids.remove("b")
    assert set(hours(watched)) == {"a"}


def test_what_was_read_stays_while_the_registry_is_away() -> None:
    registry = Registry()
    registry.add_samples("a", [sample(NOW - 30)])
    watched = History(registry, lambda: ["a"])
    before = hours(watched)["a"]
    registry.is_away = True
    assert hours(watched)["a"] == before


def test_an_unchanged_hour_is_not_made_again() -> None:
    registry = Registry()
    registry.add_samples("a", [sample(NOW - 30)])
    registry.add_samples("b", [sample(NOW - 30)])
    watched = History(registry, lambda: ["a", "b"])
    before = hours(watched)
    registry.add_samples("b", [sample(NOW - 10)])
    after = hours(watched)
    assert after["a"] is before["a"]
    assert after["b"] is not before["b"]


def test_samples_that_arrive_late_are_not_lost() -> None:
    """After an outage an instance writes what it could not write, with the times at which it was measured."""
    registry = Registry()
    registry.add_samples("a", [sample(NOW - 300)])
    watched = History(registry, lambda: ["a"])
    hours(watched)
    registry.add_samples(
        "a", [sample(NOW - 240 + 60 * number, heartbeat_age_secs=60.0 * number) for number in range(4)]
    )
    assert list(hours(watched)["a"].heartbeat_age_secs[-6:]) == [0.5, 0.0, 60.0, 120.0, 180.0, None]
