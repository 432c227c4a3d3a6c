"""Changes that become events: outages of PostgreSQL, a full disk, the expiry of the licence."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from netstacks.crypto.license import GRACE, License, judge
from netstacks.instance.change_events import ChangeEvents
from tests.cluster.facts import instance

TTL_SECS = 30.0
EXPIRY = datetime(2027, 1, 31, tzinfo=UTC)
LICENCE = License("the tests", "enterprise", 20, EXPIRY - timedelta(days=300), EXPIRY)


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[tuple[str, float, dict[str, str]]] = []
        """Kind, `once_secs` and details."""
        self.contact = SimpleNamespace(away_secs=0.0)
        self.disk = SimpleNamespace(problem=None)
        self.licence: License | None = LICENCE
        self.today = EXPIRY - timedelta(days=1)
        self.watch = ChangeEvents(
            *cast(Any, (self, self.contact, self.disk, lambda: judge(self.licence, self.today))),
            ttl_secs=TTL_SECS,
            clock=lambda: self.now,
        )
        self.me = instance("a")

    def record_event(self, kind: str, instance_id: str, once_secs: float = 0.0, /, **details: str) -> None:
        assert instance_id == "a"
        self.events.append((kind, once_secs, details))

    def away(self, secs: float) -> None:
        self.contact.away_secs = secs
        self.watch.look()

    def disk_has(self, problem: str | None) -> None:
        self.disk.problem = problem
        self.watch.look()

    def on(self, today: datetime) -> None:
        self.today = today
        self.watch.look_at_licence()


@pytest.fixture
def world() -> World:
    return World()


def test_an_outage_of_postgresql_is_recorded_at_its_beginning_and_its_end(world: World) -> None:
    for _ in range(2):
        world.away(4.0)
    world.now += 38
    world.away(0.0)
    world.away(0.0)
    assert world.events == [("database_lost", TTL_SECS, {}), ("database_back", TTL_SECS, {"away_secs": "42"})]


def test_a_single_failure_is_no_outage(world: World) -> None:
    world.away(1.0)
    world.away(0.0)
    assert world.events == []


def test_a_disk_that_runs_full_is_recorded_once(world: World) -> None:
    for problem in (None, "12 MB free", "11 MB free", None, "12 MB free"):
        world.disk_has(problem)
    assert world.events == [("disk_low", 0.0, {"problem": "12 MB free"})]
    world.disk_has(None)
    world.now += 3600
    world.disk_has("9 MB free")
    assert world.events[1:] == [("disk_low", 0.0, {"problem": "9 MB free"})]


def test_the_expiry_of_the_licence_is_recorded_with_what_it_means(world: World) -> None:
    for days in (-1, 0, 1, 20, 21):
        world.on(EXPIRY + timedelta(days=days))
    [grace, expired] = [details for _, _, details in world.events]
    ends_on = f"{EXPIRY + GRACE:%Y-%m-%d}"
    change = f"expired on 2027-01-31 and stays in force until {ends_on}: activate a new one"
    assert grace == {"status": "grace", "change": change}
    assert expired["status"] == "expired"
    assert expired["change"].startswith("expired on 2027-01-31, and so has its grace period: ")
    assert all(kind == "licence" and once_secs >= 600 for kind, once_secs, _ in world.events)


def test_what_was_so_at_the_start_is_no_news(world: World) -> None:
    for days in (20, 21):
        world.on(EXPIRY + timedelta(days=days))
    assert world.events == []


def test_a_new_licence_is_no_expiry(world: World) -> None:
    world.on(EXPIRY + timedelta(days=20))
    world.licence = None
    world.on(EXPIRY + timedelta(days=20))
    assert world.events == []
