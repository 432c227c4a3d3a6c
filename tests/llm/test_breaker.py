"""The breakers of several instances on one registry: what opens a circuit, what closes it, and what is told of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from netstacks import greenlets
from netstacks.cluster.circuits import Circuit
from netstacks.errors import RegistryUnavailable
from netstacks.llm.breaker import Breaker
from netstacks.llm.circuits import Circuits
from netstacks.llm.failures import (
    CallCancelled,
    NotSent,
    ProviderBroken,
    ProviderFailure,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    StreamCut,
)
from netstacks.llm.metrics import CIRCUIT_CHANGES
from netstacks.llm.prober import Prober
from netstacks.llm.provider import Provider
from tests.cluster.facts import SharedRegistry

FAILURES = 3
COOLDOWN_SECS = 30.0
LEASE_SECS = 35.0
COUNTED = [ProviderTimeout("no token"), ProviderUnreachable("reset"), ProviderBroken("answered 529"), StreamCut("cut")]
NEUTRAL = [ProviderRefused("refused the key", 401), CallCancelled("cancelled"), NotSent("no proxy")]


def provider(*models: str, **members: Any) -> Provider:
    facts: dict[str, Any] = {
        "id": uuid4(), "revision": 1, "name": "first", "type": "custom", "base_url": "http://127.0.0.1:1",
        "models": models or ("m",), "key": None, "position": 0, "enabled": True, "connect_secs": 1.0,
        "first_token_secs": 1.0, "total_secs": LEASE_SECS - 5, "max_concurrent": 0, "daily_tokens": 0,
    }  # fmt: skip
    return Provider(**facts | members)


PROVIDER = provider()


class Registry(SharedRegistry):
    """One that can be away, and can lose everything."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.is_away = False
        self.is_contended = False
        self.asked = 0

    def circuits(self) -> tuple[float, dict[str, Circuit]]:
        self._ask()
        return super().circuits()

    def replace_circuit(self, name: str, circuit: Circuit, expected_version: int) -> tuple[float, Circuit | None]:
        self._ask()
        if self.is_contended:
            present = self._circuits[name]
            self._circuits[name] = replace(present, version=present.version + 1)
        return super().replace_circuit(name, circuit, expected_version)

    def _ask(self) -> None:
        self.asked += 1
        greenlets.sleep(0)
        if self.is_away:
            raise RegistryUnavailable("Valkey: it is away")

    def stored(self) -> dict[str, Circuit]:
        return super().circuits()[1]

    def wipe(self) -> None:
        self._circuits.clear()


class World:
    """Instances `a`, `b` and `c`, whose clocks begin at another time than the registry's."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.registry = Registry(lambda: self.now)
        self.events: list[tuple[str, str, dict[str, str]]] = []
        self.circuits = {name: self.new_circuits(name) for name in "abc"}
        self.a, self.b, self.c = (each.circuit_for(PROVIDER, "m") for each in self.circuits.values())

    def new_circuits(self, name: str) -> Circuits:
        return Circuits(
            self.registry, name, self._tell, failures=FAILURES, cooldown_secs=COOLDOWN_SECS, interval_secs=5,
            clock=lambda: self.now - 1_699_999_000,
        )  # fmt: skip

    def _tell(self, kind: str, instance_id: str, **details: str) -> None:
        assert kind == "breaker"
        self.events.append((instance_id, details["circuit"], details))

    def record(self, breaker: Breaker, *outcomes: ProviderFailure | None, began_at: float | None = None) -> None:
        for outcome in outcomes:
            breaker.record(outcome, began_at=began_at)
            self.refresh()

    def refresh(self) -> None:
        """Two rounds of refreshes: the others see an instance's report in the second one."""
        for _ in range(2):
            for each in self.circuits.values():
                each.refresh()

    def stored(self) -> Circuit:
        return self.registry.stored()[f"{PROVIDER.id}/m"]

    def states(self) -> list[str]:
        return [each.state().state for each in (self.a, self.b, self.c)]

    def told(self) -> list[tuple[str, str]]:
        return [(name, state) for name, state, _ in self.events]

    def open(self) -> None:
        self.record(self.a, *[COUNTED[0]] * FAILURES)
        assert self.states() == ["open"] * 3
        self.events.clear()

    def until_due(self) -> None:
        self.open()
        self.now += COOLDOWN_SECS


@pytest.fixture
def world() -> World:
    return World()


# Opening a circuit


@pytest.mark.parametrize("failure", COUNTED)
def test_consecutive_failures_of_the_cluster_open_it_for_all(world: World, failure: ProviderFailure) -> None:
    world.record(world.a, failure)
    world.record(world.b, failure)
    assert world.c.is_closed
    world.record(world.c, failure)
    assert world.states() == ["open"] * 3
    assert world.c.state().reason == str(failure)
    assert world.a.retry_after_secs() == COOLDOWN_SECS


def test_a_success_of_any_instance_begins_the_count_anew(world: World) -> None:
    world.a.record(COUNTED[0])
    world.a.record(COUNTED[0])
    world.circuits["a"].refresh()
    # Its view is older than those failures.
    world.record(world.b, None)
    world.record(world.a, COUNTED[0])
    assert world.stored().failures == 1
    assert world.a.is_closed


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_neutral_ends_are_neither_success_nor_failure(world: World, outcome: ProviderFailure) -> None:
    world.record(world.a, COUNTED[0], COUNTED[0], *[outcome] * 9)
    assert world.a.state().failures == 2
    world.record(world.a, COUNTED[0])
    assert not world.a.is_closed


@pytest.mark.parametrize(("named", "secs"), [(None, COOLDOWN_SECS), (90.0, 90.0), (1e12, 3600.0), (0.0, 2.0)])
def test_a_rate_limit_opens_it_until_the_provider_says(world: World, named: float | None, secs: float) -> None:
    world.record(world.a, RateLimited("is busy", named))
    assert world.states() == ["open"] * 3
    assert world.b.retry_after_secs() == secs


@pytest.mark.parametrize("order", [(90.0, 40.0), (40.0, 90.0)])
def test_the_later_deadline_of_two_rate_limits_wins(world: World, order: tuple[float, float]) -> None:
    for breaker, secs in zip((world.a, world.b), order, strict=True):
        world.record(breaker, RateLimited("is busy", secs))
    assert world.c.retry_after_secs() == 90.0


def test_a_late_outcome_says_nothing_about_the_circuit_of_now(world: World) -> None:
    began_at = world.now - 1_699_999_000
    world.now += 1
    world.open()
    opened = world.a.state()
    world.record(world.b, None, COUNTED[0])
    assert world.states() == ["open"] * 3
    assert world.a.state() == opened
    world.a.reset()
    world.refresh()
    world.record(world.b, *[COUNTED[0]] * FAILURES, began_at=began_at)
    assert world.stored().failures == 0
    world.record(world.b, RateLimited("is busy", 60), began_at=began_at)
    assert world.states() == ["open"] * 3


def test_failures_at_the_same_time_are_all_counted(world: World) -> None:
    for breaker in (world.a, world.b):
        breaker.record(COUNTED[0])
    greenlets.joinall([greenlets.spawn("refresh", each.refresh) for each in world.circuits.values()])
    assert world.stored().failures == 2


def test_a_call_waits_for_nothing(world: World) -> None:
    world.circuits["a"].refresh()
    asked = world.registry.asked
    for _ in range(FAILURES):
        world.a.record(COUNTED[0])
    assert not world.a.is_closed
    assert world.registry.asked == asked


def test_reading_the_state_changes_nothing(world: World) -> None:
    world.until_due()
    before = world.stored()
    for _ in range(3):
        assert (world.b.state().state, world.b.is_closed, world.b.is_due) == ("open", False, True)
        assert world.b.retry_after_secs() == 2.0
    world.refresh()
    assert world.stored() == before


# The probe


def test_one_instance_gets_the_lease_however_many_ask_at_once(world: World) -> None:
    world.until_due()
    leases: list[str | None] = []
    asking = [
        greenlets.spawn("lease", lambda breaker=breaker: leases.append(breaker.lease(LEASE_SECS)))
        for breaker in (world.a, world.b, world.c) * 2
    ]
    greenlets.joinall(asking)
    assert len([each for each in leases if each]) == 1
    world.refresh()
    assert world.states() == ["half-open"] * 3
    assert not any(each.is_closed for each in (world.a, world.b, world.c))


@pytest.mark.parametrize(
    ("outcome", "state", "secs"),
    [
        (None, "closed", 0.0),
        (ProviderRefused("refused an answer of one token", 400), "closed", 0.0),
        *((each, "open", COOLDOWN_SECS) for each in (*COUNTED, CallCancelled("cancelled"))),
        (RateLimited("is busy", 90), "open", 90.0),
    ],
)
def test_the_probe_decides(world: World, outcome: ProviderFailure | None, state: str, secs: float) -> None:
    world.until_due()
    lease = world.b.lease(LEASE_SECS)
    assert lease is not None
    world.b.probe_ended(lease, outcome)
    world.refresh()
    assert world.states() == [state] * 3
    assert world.a.retry_after_secs() == secs
    assert (world.stored().probe, world.stored().probe_until) == ("", 0.0)


def test_a_probe_that_proved_nothing_says_so(world: World) -> None:
    world.until_due()
    lease = world.b.lease(LEASE_SECS)
    assert lease is not None
    world.b.probe_ended(lease, CallCancelled("was cancelled"))
    assert world.b.state().reason == "the probe proved nothing: was cancelled"


def test_the_lease_of_an_instance_that_died_runs_out(world: World) -> None:
    world.until_due()
    dead = world.a.lease(LEASE_SECS)
    assert dead is not None
    world.now += LEASE_SECS - 0.1
    assert world.b.lease(LEASE_SECS) is None
    world.now += 0.1
    lease = world.b.lease(LEASE_SECS)
    assert lease is not None
    # It was only slow: its outcome is that of no probe any more.
    world.a.probe_ended(dead, None)
    world.refresh()
    assert world.states() == ["half-open"] * 3
    world.b.probe_ended(lease, None)
    assert world.b.is_closed


def test_a_rate_limit_during_a_probe_outlasts_its_success_and_allows_no_second_probe(world: World) -> None:
    world.until_due()
    lease = world.b.lease(LEASE_SECS)
    assert lease is not None
    world.record(world.a, RateLimited("is busy", 1))
    world.now += 2
    assert world.c.lease(LEASE_SECS) is None
    world.record(world.a, RateLimited("is busy", 60))
    world.b.probe_ended(lease, None)
    world.refresh()
    assert world.states() == ["open"] * 3


def test_a_closed_circuit_needs_the_full_number_of_failures_again(world: World) -> None:
    world.until_due()
    lease = world.a.lease(LEASE_SECS)
    assert lease is not None
    world.a.probe_ended(lease, None)
    world.refresh()
    world.record(world.a, *[COUNTED[0]] * (FAILURES - 1))
    assert world.states() == ["closed"] * 3
    world.record(world.a, COUNTED[0])
    assert world.states() == ["open"] * 3


def test_a_lease_that_was_not_to_be_had_is_not_taken_later(world: World) -> None:
    world.until_due()
    world.registry.is_contended = True
    assert world.a.lease(LEASE_SECS) is None
    world.registry.is_contended = False
    world.refresh()
    assert world.states() == ["open"] * 3
    assert world.b.lease(LEASE_SECS) is not None


def test_a_failure_that_could_not_be_stored_is_stored_later(world: World) -> None:
    world.record(world.a, COUNTED[0])
    world.registry.is_contended = True
    world.record(world.b, COUNTED[0])
    assert world.b.state().failures == 2
    world.registry.is_contended = False
    world.refresh()
    assert world.stored().failures == 2


# Administrators


def test_an_administrator_trips_and_resets_it(world: World) -> None:
    world.a.trip(120, "maintenance")
    world.refresh()
    assert world.states() == ["open"] * 3
    assert (world.b.retry_after_secs(), world.b.state().reason) == (120.0, "maintenance")
    world.b.reset()
    world.refresh()
    assert world.states() == ["closed"] * 3


# The registry is away


def test_without_the_registry_each_instance_judges_for_itself(world: World) -> None:
    world.refresh()
    world.registry.is_away = True
    world.record(world.a, *[COUNTED[0]] * FAILURES)
    assert world.states() == ["open", "closed", "closed"]
    world.now += COOLDOWN_SECS
    lease = world.a.lease(LEASE_SECS)
    assert lease is not None
    world.a.probe_ended(lease, None)
    assert world.a.is_closed
    assert world.told() == [("a", "open"), ("a", "half-open"), ("a", "closed")]


def test_a_circuit_opened_meanwhile_is_known_to_all_when_the_registry_is_back(world: World) -> None:
    world.refresh()
    world.registry.is_away = True
    world.record(world.a, *[COUNTED[0]] * FAILURES)
    world.record(world.b, RateLimited("is busy", 90))
    world.registry.is_away = False
    world.refresh()
    world.refresh()
    assert world.states() == ["open"] * 3
    assert {each.retry_after_secs() for each in (world.a, world.b, world.c)} == {90.0}
    assert world.told() == [("a", "open"), ("b", "open")]


def test_a_change_that_was_later_wins_when_the_registry_is_back(world: World) -> None:
    world.open()
    world.registry.is_away = True
    world.now += 1
    world.b.reset()
    assert world.states() == ["open", "closed", "open"]
    world.registry.is_away = False
    world.refresh()
    world.refresh()
    assert world.states() == ["closed"] * 3


def test_a_registry_that_came_back_empty_gets_the_circuits_again(world: World) -> None:
    world.open()
    before = world.stored()
    world.registry.wipe()
    world.refresh()
    after = world.stored()
    assert (after.state, after.open_until, after.failures) == (before.state, before.open_until, before.failures)
    assert world.states() == ["open"] * 3
    assert world.told() == []


def test_no_old_view_is_taken_for_a_new_one_after_data_was_lost(world: World) -> None:
    world.record(world.a, COUNTED[0])
    old = world.stored().version
    world.registry.wipe()
    world.now += 5
    newcomer = world.new_circuits("d")
    world.record(newcomer.circuit_for(PROVIDER, "m"), COUNTED[0])
    newcomer.refresh()
    assert world.stored().version > old


# Events


def test_each_change_is_told_once_by_the_instance_that_made_it(world: World) -> None:
    def changes(state: str) -> float:
        return CIRCUIT_CHANGES.labels("first", "m", state)._value.get()

    counted = {state: changes(state) for state in ("open", "half-open", "closed")}
    world.record(world.a, *[COUNTED[2]] * FAILURES)
    world.record(world.b, RateLimited("is busy", 60))
    world.now += 60
    lease = world.c.lease(LEASE_SECS)
    assert lease is not None
    world.c.probe_ended(lease, None)
    world.refresh()
    assert world.told() == [("a", "open"), ("c", "half-open"), ("c", "closed")]
    assert world.events[0][2] == {
        "circuit": "open", "provider": "first", "model": "m", "reason": "answered 529",
        "until": "2023-11-14T22:13:50+00:00",
    }  # fmt: skip
    assert {state: changes(state) - before for state, before in counted.items()} == {
        "open": 1, "half-open": 1, "closed": 1,
    }  # fmt: skip


def test_a_reason_fits_on_a_page_and_into_the_registry(world: World) -> None:
    world.record(world.a, *[ProviderBroken("\ud800" + "x" * 5000)] * FAILURES)
    reason = world.stored().reason
    assert len(reason) == 200
    reason.encode()


# The breakers of a list that changes


def test_each_model_has_a_circuit_of_its_own(world: World) -> None:
    other = world.circuits["a"].circuit_for(PROVIDER, "other")
    world.open()
    assert other.is_closed
    assert world.circuits["a"].circuit_for(PROVIDER, "m") is world.a


def test_a_breaker_begins_with_what_the_registry_had(world: World) -> None:
    world.open()
    world.circuits["a"].keep_only([])
    assert not world.circuits["a"].circuit_for(PROVIDER, "m").is_closed


def test_the_circuits_of_a_deleted_provider_are_forgotten(world: World) -> None:
    world.open()
    for each in world.circuits.values():
        each.keep_only([])
    world.circuits["a"].forget(PROVIDER.id)
    world.refresh()
    assert world.registry.stored() == {}
    assert world.circuits["a"].circuit_for(PROVIDER, "m").is_closed


# The prober


class Canary:
    """Counts the probes; `outcome` is what they raise, and `gate` holds them."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.outcome: Exception | None = None
        self.gate = greenlets.Event()
        self.gate.set()

    def __call__(self, _: Provider, model: str) -> None:
        self.models.append(model)
        self.gate.wait()
        if self.outcome is not None:
            raise self.outcome


def probers(world: World, canary: Canary, *providers: Provider) -> list[Prober]:
    return [Prober(each, lambda: providers, canary) for each in world.circuits.values()]


def settle() -> None:
    for _ in range(50):
        greenlets.sleep(0)


def test_a_probe_closes_the_circuit_for_all(world: World) -> None:
    world.until_due()
    canary = Canary()
    for each in probers(world, canary, PROVIDER):
        each.probe_due()
    settle()
    assert canary.models == ["m"]
    world.refresh()
    assert world.states() == ["closed"] * 3


def test_nothing_is_probed_before_its_time(world: World) -> None:
    canary = Canary()
    asking = probers(world, canary, PROVIDER)
    for prepare in (lambda: None, world.open):
        prepare()
        for each in asking:
            each.probe_due()
        settle()
    assert canary.models == []


def test_a_probe_that_hangs_delays_no_other_and_is_the_only_one_of_its_lease(world: World) -> None:
    two = provider("m", "other", id=PROVIDER.id)
    world.circuits["a"].circuit_for(two, "other").trip(1, "maintenance")
    world.until_due()
    canary = Canary()
    canary.gate.clear()
    asking = probers(world, canary, two)
    for _ in range(3):
        for each in asking:
            each.probe_due()
        settle()
    assert sorted(canary.models) == ["m", "other"]
    canary.gate.set()
    settle()
    assert world.a.is_closed


def test_the_breakers_of_a_deleted_provider_are_let_go(world: World) -> None:
    world.open()
    for each in probers(world, Canary()):
        each.probe_due()
    world.registry.wipe()
    world.refresh()
    assert world.registry.stored() == {}


def test_a_failed_probe_is_followed_by_another_after_the_cooldown(world: World) -> None:
    world.until_due()
    canary = Canary()
    canary.outcome = COUNTED[0]
    asking = probers(world, canary, PROVIDER)
    for expected in (1, 1, 2):
        for each in asking:
            each.probe_due()
        settle()
        assert len(canary.models) == expected
        world.now += COOLDOWN_SECS / 2
    world.refresh()
    assert world.states() == ["open"] * 3


def test_nothing_is_probed_while_ai_is_switched_off(world: World) -> None:
    world.until_due()
    canary = Canary()
    Prober(world.circuits["a"], lambda: [PROVIDER], canary, lambda: False).probe_due()
    settle()
    assert canary.models == []
    assert world.states() == ["open"] * 3


def test_a_circuit_and_its_events_have_no_words_of_the_provider(world: World) -> None:
    quoting = ProviderBroken("answered 500", ": cannot read: my question")
    world.record(world.a, *[quoting] * FAILURES)
    assert world.stored().reason == "answered 500"
    world.record(world.b, RateLimited("answered 429", 90, ": my question"))
    assert world.stored().reason == "answered 429"
    assert "question" not in repr(world.events)


def test_a_probe_that_crashed_is_repeated_when_its_lease_has_run_out(world: World) -> None:
    world.until_due()
    canary = Canary()
    canary.outcome = RuntimeError("a bug")
    asking = probers(world, canary, PROVIDER)
    asking[0].probe_due()
    settle()
    assert world.a.state().state == "half-open"
    world.now += LEASE_SECS
    canary.outcome = None
    asking[1].probe_due()
    settle()
    assert world.b.is_closed


@pytest.mark.parametrize("providers", [(), (provider(id=PROVIDER.id, enabled=False),)])
def test_a_provider_that_is_disabled_or_deleted_is_not_probed(world: World, providers: tuple[Provider, ...]) -> None:
    world.until_due()
    canary = Canary()
    for each in probers(world, canary, *providers):
        each.probe_due()
    settle()
    assert canary.models == []


def test_a_thousand_abandoned_calls_leave_it_as_it_was(world: World) -> None:
    world.record(world.a, COUNTED[0])
    before, asked = world.stored(), world.registry.asked
    for _ in range(1000):
        world.a.record(CallCancelled("abandoned"))
    settle()
    assert world.a.state() == before
    assert world.registry.asked == asked
