"""The agent against the registry in memory, driven by hand and by a clock of the test's own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import structlog

from netstacks import greenlets
from netstacks.cluster.model import NO_LOAD, Instance, Load, SessionRecord
from netstacks.errors import RegistryUnavailable
from netstacks.instance.agent import Agent
from netstacks.registry.base import Pulse
from netstacks.registry.memory import MemoryRegistry
from tests.cluster.facts import SESSION, instance, record
from tests.waits import until

TTL_SECS = 30.0
OTHER_SECRETS = "vault:2 jwt:2"
# The agent's calls besides heartbeats.
CALLS = (
    "register",
    "set_state",
    "publish",
    "remove",
    "sessions_of",
    "snapshot",
    "now",
    "reap",
    "record_event",
)
LOSSES = ("lost", "keep_lost", "replace_lost", "reap_proven")
METHODS = frozenset((*CALLS, *LOSSES, "heartbeat", "deregister", "add_samples"))


class Registry(MemoryRegistry):
    """The registry in memory, with the troubles of one in Valkey: `failing` are the methods that raise."""

    def __init__(self, clock: "Clock") -> None:
        super().__init__(clock)
        self.failing: frozenset[str] = frozenset()
        self.heartbeats = 0
        self.run = 1
        self._seen_run = 0

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS and name in self.failing:
            return _fail
        return super().__getattribute__(name)

    @property
    def away(self) -> bool:
        return self.failing == METHODS

    @away.setter
    def away(self, away: bool) -> None:
        self.failing = METHODS if away else frozenset()

    def heartbeat(self, instance_id: str, load: Load = NO_LOAD) -> Pulse:
        self.heartbeats += 1
        greenlets.sleep(0)
        is_first, self._seen_run = self.run != self._seen_run, self.run
        return replace(super().heartbeat(instance_id, load), server=f"run {self.run}", is_first=is_first)


def _fail(*_: Any, **__: Any) -> Any:
    raise RegistryUnavailable("no answer")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Sessions:
    """The sessions that an instance holds, and the agent's calls to them."""

    def __init__(self, *records: SessionRecord) -> None:
        self.held = list(records)
        self.fenced: list[UUID] = []
        self.rechecks = 0
        self.expiries = 0

    def records(self) -> list[SessionRecord]:
        return list(self.held)

    def fence(self, session_ids: Sequence[UUID]) -> None:
        self.fenced += session_ids
        self.held = [each for each in self.held if each.id not in session_ids]

    def recheck(self) -> None:
        self.rechecks += 1

    def expire_detached(self) -> None:
        self.expiries += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry(clock)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(record("a"))


def make_agent(me: Instance, registry: Registry, sessions: Sessions) -> Agent:
    return Agent(me, registry, sessions, interval_secs=5.0, ttl_secs=TTL_SECS, clock=registry.now)


@pytest.fixture
def agent(registry: Registry, sessions: Sessions) -> Agent:
    return make_agent(instance("a"), registry, sessions)


def kinds(registry: Registry) -> list[str]:
    return [event.kind for event in registry.events()]


# Joining and beating


def test_the_first_heartbeat_registers_the_instance_and_all_it_holds(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    assert agent.is_leased
    assert registry.session(SESSION) == record("a")
    assert list(agent.snapshot.instances) == ["a"]
    assert kinds(registry) == ["joined"]


def test_a_heartbeat_registers_nothing_twice(agent: Agent, registry: Registry, sessions: Sessions) -> None:
    agent.heartbeat()
    agent.heartbeat()
    assert kinds(registry) == ["joined"]
    assert sessions.rechecks == 1


def test_a_reaped_instance_joins_again_and_checks_what_it_holds(
    agent: Agent, registry: Registry, sessions: Sessions
) -> None:
    agent.heartbeat()
    registry.deregister("a")
    agent.heartbeat()
    assert registry.session(SESSION) == record("a")
    assert sessions.rechecks == 2
    assert kinds(registry) == ["joined", "joined"]


def test_a_session_that_another_instance_claimed_is_fenced(
    agent: Agent, registry: Registry, sessions: Sessions
) -> None:
    agent.heartbeat()
    registry.deregister("a")
    registry.register(instance("b"))
    registry.publish(record("b", 2))
    agent.heartbeat()
    assert sessions.fenced == [SESSION]
    assert registry.session(SESSION) == record("b", 2)


@pytest.mark.parametrize(
    ("event", "told"), [("outage", ["valkey_back", "valkey_lost", "joined"]), ("restart", ["failover", "joined"])]
)
def test_after_an_outage_or_a_failover_everything_is_registered_anew(
    agent: Agent, registry: Registry, sessions: Sessions, event: str, told: list[str]
) -> None:
    agent.heartbeat()
    if event == "outage":
        registry.away = True
        agent.heartbeat()
        assert not agent.is_leased
        registry.away = False
    else:
        registry.run = 2
    registry.remove("a", {SESSION: 1})  # a write that a failover lost
    agent.heartbeat()
    assert agent.is_leased
    assert registry.session(SESSION) == record("a")
    assert kinds(registry) == told


def test_a_registry_that_is_away_at_the_start_is_joined_when_it_appears(agent: Agent, registry: Registry) -> None:
    registry.away = True
    agent.heartbeat()
    assert not agent.is_leased
    assert agent.me.state == "active"
    registry.away = False
    agent.heartbeat()
    assert agent.is_leased


# Sessions that come and go


def test_a_publication_that_failed_is_made_up_for(agent: Agent, registry: Registry, sessions: Sessions) -> None:
    agent.heartbeat()
    another = record("a", session_id=UUID(int=2))
    sessions.held.append(another)
    registry.away = True
    agent.publish(another)
    registry.away = False
    agent.heartbeat()
    assert registry.session(another.id) == another


def test_a_withdrawal_that_failed_is_made_up_for(agent: Agent, registry: Registry, sessions: Sessions) -> None:
    agent.heartbeat()
    sessions.held.clear()
    registry.away = True
    agent.withdraw(SESSION, 1)
    registry.away = False
    agent.heartbeat()
    assert registry.session(SESSION) is None


def test_a_publication_that_comes_too_late_fences_the_session(
    agent: Agent, registry: Registry, sessions: Sessions
) -> None:
    agent.heartbeat()
    registry.register(instance("b"))
    registry.publish(record("b", 2))
    agent.publish(record("a", 1))
    assert sessions.fenced == [SESSION]


# Judging others


def test_an_instance_is_blind_until_one_ttl_after_contact_was_regained(
    agent: Agent, registry: Registry, clock: Clock
) -> None:
    agent.heartbeat()
    assert agent.is_blind
    clock.now += TTL_SECS + 1
    agent.heartbeat()
    assert not agent.is_blind
    registry.away = True
    agent.heartbeat()
    assert agent.is_blind
    registry.away = False
    agent.heartbeat()
    clock.now += TTL_SECS
    assert agent.is_blind
    clock.now += 1
    assert not agent.is_blind


def test_a_restart_of_the_registry_blinds_even_when_no_heartbeat_failed(
    agent: Agent, registry: Registry, clock: Clock
) -> None:
    agent.heartbeat()
    clock.now += TTL_SECS + 1
    registry.run = 2
    agent.heartbeat()
    assert agent.is_blind


def test_a_dead_instance_is_reaped_by_any_agent_in_contact(agent: Agent, registry: Registry, clock: Clock) -> None:
    agent.heartbeat()
    registry.register(instance("b"))
    clock.now += TTL_SECS + 1
    agent.heartbeat()
    agent.reap()
    agent.heartbeat()
    assert registry.instance("b") is None
    newest = registry.events()[0]
    assert (newest.kind, newest.instance_id, newest.details) == (
        "reaped",
        "b",
        {"by": "a", "proof": "silence", "sessions": "0"},
    )


def test_no_instance_is_reaped_by_an_agent_out_of_contact(agent: Agent, registry: Registry, clock: Clock) -> None:
    registry.register(instance("b"))
    clock.now += TTL_SECS + 1
    agent.heartbeat()
    agent.reap()
    assert registry.instance("b") is not None


@pytest.mark.parametrize("by_secs", [3600.0, -3600.0])
def test_when_the_registrys_clock_is_set_no_instance_is_judged_for_a_ttl(sessions: Sessions, by_secs: float) -> None:
    ours, clock = Clock(), Clock()
    registry = Registry(clock)
    agent = Agent(instance("a"), registry, sessions, interval_secs=5.0, ttl_secs=TTL_SECS, clock=lambda: ours.now)
    other = Agent(instance("b"), registry, Sessions(), interval_secs=5.0, ttl_secs=TTL_SECS, clock=lambda: ours.now)

    def pass_by(secs: float) -> None:
        ours.now += secs
        clock.now += secs
        agent.heartbeat()
        other.heartbeat()
        agent.reap()

    agent.heartbeat()
    other.heartbeat()
    for _ in range(7):
        pass_by(5)
    assert not agent.is_blind
    registry.register(instance("dead"))
    clock.now += by_secs
    # The reaper may come first, when another instance's heartbeat is the only one by the new time.
    other.heartbeat()
    agent.reap()
    for _ in range(6):
        pass_by(5)
        assert list(registry.snapshot().instances) == ["a", "b", "dead"]
        assert agent.is_blind
    pass_by(5)
    assert list(registry.snapshot().instances) == ["a", "b"]
    assert kinds(registry).count("joined") == 2


def test_detached_sessions_expire_whatever_the_registry_does(
    agent: Agent, registry: Registry, sessions: Sessions
) -> None:
    registry.away = True
    agent.heartbeat()
    agent.reap()
    assert sessions.expiries == 1


# Faults other than absence


@pytest.fixture
def judge(agent: Agent, clock: Clock) -> Agent:
    """An agent that has been in contact for long enough to judge others."""
    agent.heartbeat()
    clock.now += TTL_SECS + 1
    agent.heartbeat()
    assert not agent.is_blind
    return agent


def replace_session(agent: Agent, sessions: Sessions) -> SessionRecord:
    """The one session ends and another begins."""
    another = record("a", session_id=UUID(int=2))
    sessions.held = [another]
    agent.withdraw(SESSION, 1)
    agent.publish(another)
    return another


@pytest.mark.parametrize("call", CALLS)
def test_only_a_heartbeat_that_fails_loses_contact(
    judge: Agent, registry: Registry, sessions: Sessions, call: str
) -> None:
    registry.failing = frozenset({call})
    replace_session(judge, sessions)
    judge.reap()
    judge.drain()
    judge.heartbeat()
    assert judge.is_leased
    assert not judge.is_blind


@pytest.mark.parametrize("call", CALLS)
def test_writes_that_the_registry_did_not_take_are_repeated_at_the_next_heartbeat(
    judge: Agent, registry: Registry, sessions: Sessions, clock: Clock, call: str
) -> None:
    registry.register(instance("dead"))
    clock.now += TTL_SECS + 1
    judge.heartbeat()
    registry.failing = frozenset({call})
    another = replace_session(judge, sessions)
    judge.reap()
    judge.drain()
    registry.failing = frozenset()
    judge.reap()
    judge.heartbeat()
    assert registry.sessions_of("a") == [another]
    assert registry.session(SESSION) is None
    assert judge.snapshot.instances["a"].state == "draining"
    assert list(judge.snapshot.instances) == ["a"]
    assert kinds(registry) == ["reaped", "joined"]


@pytest.mark.parametrize("call", CALLS)
def test_a_join_that_fails_half_way_is_tried_again(
    agent: Agent, registry: Registry, sessions: Sessions, call: str
) -> None:
    registry.register(instance("a"))
    registry.publish(record("a", session_id=UUID(int=9)))  # a stray
    registry.failing = frozenset({call})
    agent.heartbeat()
    registry.failing = frozenset()
    agent.heartbeat()
    assert agent.is_leased
    assert registry.sessions_of("a") == [record("a")]
    assert sessions.rechecks == 1


@pytest.mark.parametrize("call", ["register", "snapshot", "record_event"])
def test_a_first_join_that_fails_half_way_is_tried_again(agent: Agent, registry: Registry, call: str) -> None:
    registry.failing = frozenset({call})
    agent.heartbeat()
    # Its secrets are compared before it is registered.
    assert agent.is_leased == (call == "record_event")
    registry.failing = frozenset()
    agent.heartbeat()
    assert agent.is_leased
    assert registry.session(SESSION) == record("a")
    assert kinds(registry) == ["joined"]


@pytest.mark.parametrize("call", ["register", "publish", "record_event"])
def test_a_failover_is_told_once_whatever_fails(agent: Agent, registry: Registry, call: str) -> None:
    agent.heartbeat()
    registry.run = 2
    registry.failing = frozenset({call})
    agent.heartbeat()
    registry.failing = frozenset()
    agent.heartbeat()
    assert kinds(registry) == ["failover", "joined"]


def test_very_many_failures_are_one_line_in_the_log(agent: Agent, registry: Registry, sessions: Sessions) -> None:
    agent.heartbeat()
    registry.failing = frozenset({"remove"})
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            agent.withdraw(SESSION, 1)
            greenlets.sleep(0)
        registry.failing = frozenset()
        agent.withdraw(SESSION, 1)
        agent.heartbeat()
    # Greenlets of earlier tests may log beside it.
    assert [(each["event"], each["call"]) for each in logs if each["event"].startswith("registry.")] == [
        ("registry.call_failed", "publish"),
        ("registry.call_succeeded", "publish"),
    ]


def test_a_registry_whose_publications_hang_has_its_heartbeats_on_time(
    judge: Agent, registry: Registry, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = greenlets.Event()
    monkeypatch.setattr(registry, "publish", lambda *records: [answered.wait(), "published"][1:])
    waiting = greenlets.spawn("publish", judge.publish, record("a"))
    for _ in range(3):
        judge.beat_anew()
    assert not waiting.ready()
    assert judge.is_leased
    answered.set()
    waiting.join(30)
    assert waiting.successful()


@pytest.mark.parametrize("by_secs", [3600.0, -3600.0])
def test_a_clock_that_was_set_is_noticed_though_no_snapshot_comes(sessions: Sessions, by_secs: float) -> None:
    ours, clock = Clock(), Clock()
    registry = Registry(clock)
    agent = Agent(instance("a"), registry, sessions, interval_secs=5.0, ttl_secs=TTL_SECS, clock=ours)
    agent.heartbeat()
    for each in (ours, clock):
        each.now += TTL_SECS + 1
    agent.heartbeat()
    assert not agent.is_blind
    registry.failing = frozenset({"snapshot"})
    clock.now += by_secs
    agent.beat_anew()
    assert agent.is_blind


def test_many_callers_of_a_new_heartbeat_at_once_share_it(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    before = registry.heartbeats
    beating = [greenlets.spawn("one of many", agent.beat_anew) for _ in range(50)]
    greenlets.joinall(beating, timeout=30)
    assert all(each.successful() for each in beating)
    assert registry.heartbeats - before <= 2


# Secrets


def test_a_newcomer_with_other_secrets_is_refused_and_says_which(
    agent: Agent, registry: Registry, sessions: Sessions
) -> None:
    agent.heartbeat()
    newcomer = make_agent(replace(instance("b"), secrets_fingerprint=OTHER_SECRETS), registry, Sessions())
    newcomer.heartbeat()
    assert newcomer.me.state == "refused"
    assert newcomer.differing_secrets == ("VAULT_MASTER_KEY",)
    agent.heartbeat()
    assert agent.snapshot.instances["b"].state == "refused"
    assert (agent.me.state, agent.differing_secrets) == ("active", ())


def test_a_third_instance_is_not_measured_by_the_refused_one(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    for name, fingerprint in (("b", OTHER_SECRETS), ("c", OTHER_SECRETS), ("d", agent.me.secrets_fingerprint)):
        other = make_agent(replace(instance(name), secrets_fingerprint=fingerprint), registry, Sessions())
        other.heartbeat()
        assert other.me.state == ("active" if name == "d" else "refused")


def test_a_refused_instance_is_accepted_when_no_other_is_left_to_differ_from(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    newcomer = make_agent(replace(instance("b"), secrets_fingerprint=OTHER_SECRETS), registry, Sessions())
    newcomer.heartbeat()
    agent.leave()
    newcomer.heartbeat()
    assert (newcomer.me.state, newcomer.differing_secrets) == ("active", ())
    found = registry.instance("b")
    assert found is not None
    assert found.state == "active"


# Draining and leaving


def test_a_draining_instance_says_so_and_goes_on_beating(agent: Agent, registry: Registry, clock: Clock) -> None:
    agent.heartbeat()
    agent.drain()
    assert agent.is_draining
    clock.now += 5
    agent.heartbeat()
    found = registry.instance("a")
    assert found is not None
    assert (found.state, found.last_heartbeat_at) == ("draining", clock.now)


def test_an_instance_drains_without_the_registry_and_says_so_later(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    registry.away = True
    agent.drain()
    assert agent.is_draining
    registry.away = False
    agent.heartbeat()
    found = registry.instance("a")
    assert found is not None
    assert found.state == "draining"


def test_a_reaped_instance_that_drains_joins_as_draining(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    agent.drain()
    registry.deregister("a")
    agent.heartbeat()
    found = registry.instance("a")
    assert found is not None
    assert found.state == "draining"


def test_an_administrators_wish_to_drain_is_heard_at_the_next_heartbeat(agent: Agent, registry: Registry) -> None:
    asked: list[str] = []
    agent.on_drain = lambda: asked.append("drain")
    agent.heartbeat()
    registry.set_state("a", "draining")
    agent.heartbeat()
    assert asked == ["drain"]
    agent.drain()
    agent.heartbeat()
    assert asked == ["drain"]


def test_an_instance_that_left_is_forgotten_with_all_it_had(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    agent.leave()
    assert registry.instance("a") is None
    assert registry.session(SESSION) is None
    assert kinds(registry) == ["left", "joined"]


def test_an_instance_that_left_does_not_come_back_by_a_late_heartbeat(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    late = greenlets.spawn("late", agent.beat_anew)
    greenlets.sleep(0)
    agent.leave()
    late.join(30)
    agent.beat_anew()
    assert registry.instance("a") is None
    assert not agent.is_leased
    assert agent.is_blind


def test_leaving_without_the_registry_is_no_error(agent: Agent, registry: Registry) -> None:
    agent.heartbeat()
    registry.away = True
    agent.leave()


def test_the_agent_beats_by_itself_until_it_leaves(registry: Registry, sessions: Sessions) -> None:
    agent = Agent(instance("a"), registry, sessions, interval_secs=0.01, ttl_secs=TTL_SECS)
    agent.start()
    until(lambda: agent.is_leased, "the first heartbeat")
    registry.deregister("a")
    until(lambda: registry.instance("a") is not None, "the second heartbeat")
    agent.leave()
    # Several heartbeat intervals.
    greenlets.sleep(0.05)
    assert registry.instance("a") is None
