"""The agent and an administrator's drain: how a request and a cancel reach it through the registry."""

import pytest

from netstacks.cluster.model import InstanceState
from netstacks.instance.agent import Agent
from tests.cluster.facts import instance
from tests.instance.test_agent import CALLS, TTL_SECS, Clock, Registry, Sessions


class Drains:
    """An agent whose drain begins when it is requested, as the lifecycle's does."""

    def __init__(self) -> None:
        clock = Clock()
        self.registry = Registry(clock)
        self.cancels = self.requests = 0
        self.may_cancel = True
        self.agent = Agent(
            instance("ctrl-1"),
            self.registry,
            Sessions(),
            interval_secs=5.0,
            ttl_secs=TTL_SECS,
            on_drain=self._drain,
            on_cancel=self._cancel,
            clock=clock,
        )
        self.agent.heartbeat()

    def _drain(self) -> None:
        self.requests += 1
        self.agent.drain()

    def _cancel(self) -> bool:
        self.cancels += 1
        if self.may_cancel:
            self.agent.resume()
        return self.may_cancel

    def beat(self, *, requested: InstanceState | None = None) -> tuple[InstanceState, InstanceState]:
        """A heartbeat after a request; the agent's state, and the registry's."""
        if requested is not None:
            self.registry.set_state("ctrl-1", requested)
        self.agent.heartbeat()
        found = self.registry.instance("ctrl-1")
        assert found is not None
        return self.agent.me.state, found.state


@pytest.fixture
def drains() -> Drains:
    return Drains()


def test_a_drain_and_its_cancel_are_read_from_the_registry(drains: Drains) -> None:
    assert drains.beat(requested="draining") == ("draining", "draining")
    assert drains.beat() == ("draining", "draining")
    assert drains.beat(requested="active") == ("active", "active")
    assert drains.beat() == ("active", "active")
    assert (drains.requests, drains.cancels) == (1, 1)
    assert drains.beat(requested="draining") == ("draining", "draining")


def test_a_drain_that_cannot_be_cancelled_is_shown_again(drains: Drains) -> None:
    drains.may_cancel = False
    drains.beat(requested="draining")
    assert drains.beat(requested="active") == ("draining", "draining")


def test_a_registry_that_has_not_heard_of_the_drain_does_not_cancel_it(drains: Drains) -> None:
    drains.registry.failing = frozenset({"set_state"})
    drains.agent.drain()
    drains.registry.failing = frozenset()
    assert drains.beat() == ("draining", "draining")
    assert drains.cancels == 0


def test_a_failover_that_loses_the_drain_does_not_cancel_it(drains: Drains) -> None:
    drains.beat(requested="draining")
    drains.registry.run += 1
    assert drains.beat(requested="active") == ("draining", "draining")
    assert drains.cancels == 0


@pytest.mark.parametrize("failing", [frozenset({"set_state"}), frozenset((*CALLS, "heartbeat"))])
def test_a_registry_that_has_not_heard_of_the_cancel_begins_no_other_drain(
    drains: Drains, failing: frozenset[str]
) -> None:
    drains.beat(requested="draining")
    drains.registry.failing = failing
    drains.agent.resume()
    drains.agent.heartbeat()
    assert (drains.agent.me.state, drains.requests) == ("active", 1)
    drains.registry.failing = frozenset()
    assert drains.beat() == ("active", "active")
    assert drains.requests == 1
