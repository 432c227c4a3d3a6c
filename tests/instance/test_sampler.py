"""The sampler's figures are true, wait while the registry is away, and have the times of the registry's clock."""

from typing import Any

import pytest

from netstacks.cluster.model import Sample
from netstacks.instance.agent import Agent
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.memory import resident_bytes
from netstacks.instance.sampler import INTERVAL_SECS, Sampler
from netstacks.registry.base import MAX_SAMPLES
from tests.cluster.facts import instance
from tests.instance.test_agent import Clock, Registry, Sessions

AHEAD_SECS = 500.0


class Lab:
    """One instance whose own clock is behind the registry's."""

    def __init__(self) -> None:
        self.registry_clock, self.clock = Clock(), Clock()
        self.registry_clock.now += AHEAD_SECS
        self.registry = Registry(self.registry_clock)
        self.agent = Agent(instance("a"), self.registry, Sessions(), interval_secs=5.0, ttl_secs=30.0, clock=self.clock)
        self.sessions = ["one"]
        self.loop = LoopWatch(2.0)
        self.sampler = Sampler(self.agent, self.registry, self.sessions, self.loop, clock=self.clock)

    def wait(self, secs: float = INTERVAL_SECS) -> None:
        self.clock.now += secs
        self.registry_clock.now += secs

    def stored(self) -> list[Sample]:
        return self.registry.samples({"a": 0.0})["a"]


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_a_sample_has_the_figures_of_the_moment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.loop, "_largest_lag_secs", 0.75)
    lab.agent.heartbeat()
    lab.wait(3.0)
    lab.sampler.sample()
    [sample] = lab.stored()
    assert sample.at == lab.registry_clock.now
    assert (sample.sessions, sample.heartbeat_age_secs, sample.loop_lag_secs) == (1, 3.0, 0.75)
    assert sample.memory_bytes > 1_000_000
    lab.sampler.sample()
    assert lab.stored()[-1].loop_lag_secs == 0.0


def test_the_latency_is_that_of_the_last_heartbeat(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = lab.registry.heartbeat

    def slow(*arguments: Any) -> Any:
        lab.wait(0.25)
        return answer(*arguments)

    monkeypatch.setattr(lab.registry, "heartbeat", slow)
    lab.agent.heartbeat()
    lab.sampler.sample()
    assert lab.stored()[0].valkey_latency_secs == 0.25


def test_an_outage_is_visible_afterwards_as_a_rising_age(lab: Lab) -> None:
    lab.agent.heartbeat()
    lab.sampler.sample()
    lab.registry.away = True
    for _ in range(3):
        lab.wait()
        lab.agent.heartbeat()
        lab.sampler.sample()
    lab.registry.away = False
    assert len(lab.stored()) == 1
    lab.wait()
    lab.agent.heartbeat()
    lab.sampler.sample()
    began_at = 1000.0 + AHEAD_SECS
    assert [(each.at - began_at, each.heartbeat_age_secs) for each in lab.stored()] == [
        (0.0, 0.0),
        (10.0, 10.0),
        (20.0, 20.0),
        (30.0, 30.0),
        (40.0, 0.0),
    ]


def test_a_sample_that_could_not_be_stored_is_stored_with_the_next(lab: Lab) -> None:
    lab.agent.heartbeat()
    lab.registry.failing = frozenset(["add_samples"])
    lab.sampler.sample()
    lab.registry.failing = frozenset()
    lab.wait()
    lab.sampler.sample()
    assert len(lab.stored()) == 2


def test_before_the_first_contact_samples_wait_for_its_clock(lab: Lab) -> None:
    lab.registry.away = True
    lab.agent.heartbeat()
    lab.sampler.sample()
    lab.wait()
    lab.registry.away = False
    lab.agent.heartbeat()
    lab.sampler.sample()
    assert [each.at - AHEAD_SECS for each in lab.stored()] == [1000.0, 1010.0]


def test_a_long_outage_keeps_the_samples_of_the_last_hour(lab: Lab) -> None:
    for _ in range(MAX_SAMPLES + 40):
        lab.wait()
        lab.sampler.sample()
    lab.agent.heartbeat()
    lab.sampler.sample()
    ages = [each.heartbeat_age_secs for each in lab.stored()]
    assert len(ages) == MAX_SAMPLES
    assert ages[-2] == (MAX_SAMPLES + 40) * INTERVAL_SECS


def test_the_resident_size_follows_what_is_kept() -> None:
    before = resident_bytes()
    kept = bytearray(b"x") * 50_000_000
    assert resident_bytes() - before > 40_000_000
    assert len(kept) == 50_000_000
