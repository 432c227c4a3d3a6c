"""Random histories of calls, clocks and losses: the promises of the circuit hold, compared with a plain model of it."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from netstacks.cluster.circuits import MAX_OPEN_SECS
from netstacks.llm.breaker import Breaker
from netstacks.llm.failures import CallCancelled, ProviderFailure, ProviderRefused, ProviderTimeout, RateLimited
from tests.llm.test_breaker import COOLDOWN_SECS, FAILURES, LEASE_SECS, PROVIDER, World

INSTANCE = st.sampled_from("abc")
OUTCOMES = st.sampled_from(["success", "failure", "failure", "failure", "refused", "cancelled", "rate limit"])
LIMITED_SECS = st.sampled_from([None, 0.0, 10.0, 100.0, 1e9])


@dataclass
class Probe:
    instance: str
    breaker: Breaker
    lease: str
    until: float
    is_shared: bool = True
    """Whether the registry was there, with its data, since the lease was taken."""


class Model:
    """The expected circuit of the cluster while nothing is lost."""

    def __init__(self) -> None:
        self.failures = 0
        self.open_until: float | None = None

    def end_call(self, outcome: ProviderFailure | None, now: float) -> None:
        if isinstance(outcome, RateLimited):
            named_secs = COOLDOWN_SECS if outcome.retry_after_secs is None else outcome.retry_after_secs
            self.open(now + min(max(1.0, named_secs), MAX_OPEN_SECS))
        elif self.open_until is not None:
            return
        elif outcome is None:
            self.failures = 0
        elif isinstance(outcome, ProviderTimeout):
            self.failures += 1
            if self.failures >= FAILURES:
                self.open(now + COOLDOWN_SECS)

    def open(self, until: float) -> None:
        self.open_until = max(until, self.open_until or 0)

    def close(self) -> None:
        self.failures, self.open_until = 0, None


class History(RuleBasedStateMachine):
    """Three instances; `is_plain` until something was lost, from when on the model does not know what must be."""

    world: World

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.world.refresh()
        self.model = Model()
        self.probes: list[Probe] = []
        self.is_plain = True

    def _breaker(self, instance: str) -> Breaker:
        return self.world.circuits[instance].circuit_for(PROVIDER, "m")

    def _outcome(self, outcome: str, secs: float | None) -> ProviderFailure | None:
        return {
            "success": None,
            "failure": ProviderTimeout("timed out"),
            "refused": ProviderRefused("refused", 400),
            "cancelled": CallCancelled("cancelled"),
            "rate limit": RateLimited("is busy", secs),
        }[outcome]

    @rule(secs=st.sampled_from([0.5, 1.0, 5.0, COOLDOWN_SECS, LEASE_SECS, 101.0]))
    def time_passes(self, secs: float) -> None:
        self.world.now += secs

    @rule(instance=INSTANCE, outcome=OUTCOMES, secs=LIMITED_SECS, stored=st.booleans())
    def a_call_ends(self, instance: str, outcome: str, secs: float | None, stored: bool) -> None:
        """One that began while the circuit was closed for its instance, or a late one."""
        before, ended = self._breaker(instance).state(), self._outcome(outcome, secs)
        self._breaker(instance).record(ended)
        if outcome in ("refused", "cancelled"):
            assert self._breaker(instance).state() is before
        self.model.end_call(ended, self.world.now)
        self._flush(instance, stored)

    def _flush(self, instance: str, stored: bool) -> None:
        """Without it the report reaches the registry only with the next refresh."""
        if stored or self.is_plain:
            self.world.circuits[instance].refresh()

    @rule(instance=INSTANCE)
    def a_beat(self, instance: str) -> None:
        self.world.circuits[instance].refresh()

    @rule(instance=INSTANCE)
    def a_prober_looks(self, instance: str) -> None:
        breaker = self._breaker(instance)
        lease = breaker.lease(LEASE_SECS)
        if lease is None:
            return
        is_shared = not self.world.registry.is_away
        if self.is_plain:
            assert self.model.open_until is not None
            assert self.model.open_until <= self.world.now
        self.probes.append(Probe(instance, breaker, lease, self.world.now + LEASE_SECS, is_shared))

    @precondition(lambda self: self.probes)
    @rule(which=st.integers(0, 9), outcome=OUTCOMES, secs=LIMITED_SECS)
    def a_probe_ends(self, which: int, outcome: str, secs: float | None) -> None:
        probe, ended = self.probes.pop(which % len(self.probes)), self._outcome(outcome, secs)
        before = self.world.registry.stored().get(probe.breaker.name)
        probe.breaker.probe_ended(probe.lease, ended)
        if not self.is_plain:
            return
        if isinstance(ended, RateLimited):
            self.model.end_call(ended, self.world.now)
        elif before is not None and (before.state, before.probe) == ("half-open", probe.lease):
            if ended is None or isinstance(ended, ProviderRefused):
                self.model.close()
            else:
                self.model.open(self.world.now + COOLDOWN_SECS)

    @precondition(lambda self: self.probes)
    @rule(which=st.integers(0, 9))
    def a_probing_instance_dies(self, which: int) -> None:
        """The instance that takes its place knows nothing of it."""
        probe = self.probes.pop(which % len(self.probes))
        world = self.world
        world.circuits[probe.instance] = world.new_circuits(probe.instance)
        world.circuits[probe.instance].circuit_for(PROVIDER, "m")
        world.circuits[probe.instance].refresh()

    @rule(instance=INSTANCE, secs=st.sampled_from([5.0, 1e6]))
    def an_administrator_trips_it(self, instance: str, secs: float) -> None:
        self._breaker(instance).trip(secs, "maintenance")
        self.model.open(self.world.now + min(secs, MAX_OPEN_SECS))

    @rule(instance=INSTANCE)
    def an_administrator_resets_it(self, instance: str) -> None:
        self._breaker(instance).reset()
        self.model.close()

    @precondition(lambda self: not self.world.registry.is_away)
    @rule(how=st.sampled_from(["away", "empty"]))
    def the_registry_is_lost(self, how: str) -> None:
        if how == "away":
            self.world.registry.is_away = True
        else:
            self.world.registry.wipe()
        self.is_plain = False
        for probe in self.probes:
            probe.is_shared = False

    @precondition(lambda self: self.world.registry.is_away)
    @rule()
    def the_registry_is_back(self) -> None:
        self.world.registry.is_away = False
        # The heartbeat of each instance finds out; until then it goes on alone.
        self.world.refresh()

    @invariant()
    def no_two_probes_at_once(self) -> None:
        for probe in self.probes if hasattr(self, "world") else ():
            if probe.is_shared:
                living = [each for each in self.probes if each.is_shared and each.until > self.world.now]
                assert len(living) <= 1, living

    @invariant()
    def the_circuit_is_that_of_the_model(self) -> None:
        if not hasattr(self, "world") or not self.is_plain:
            return
        stored = self.world.registry.stored().get(self._breaker("a").name)
        if stored is None:
            assert (self.model.failures, self.model.open_until) == (0, None)
        elif self.model.open_until is None:
            assert (stored.state, stored.failures) == ("closed", self.model.failures)
        else:
            assert stored.state != "closed"
            assert stored.open_until == pytest.approx(self.model.open_until)

    def teardown(self) -> None:
        """Open for ever is no circuit: when the provider works again, each instance soon asks it again."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.registry.is_away = False
        world.refresh()
        self.probes.clear()
        world.now += MAX_OPEN_SECS + LEASE_SECS
        world.refresh()
        for instance in "abc":
            if (lease := self._breaker(instance).lease(LEASE_SECS)) is not None:
                self._breaker(instance).probe_ended(lease, None)
        world.refresh()
        assert [self._breaker(instance).state().state for instance in "abc"] == ["closed"] * 3


History.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
test_history = History.TestCase
