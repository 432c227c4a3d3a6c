"""Valkey is emptied, restarted, gone, frozen, or out of one instance's reach: no terminal is lost to any of it."""

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import redis
import requests

from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, Cluster, come_back
from tests.acceptance.conftest import Lab
from tests.acceptance.sharing import QUIET, Viewer, share
from tests.acceptance.test_cluster import audited, row, shell_pid
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import ClockedValkey
from tests.wire import Wire

# Two heartbeats, and some air for a machine that is busy with all of this.
REGISTERED_SECS = 2 * HEARTBEAT_SECS + 2
# No request, heartbeat or page waits longer for a store that hangs.
LIMIT_SECS = 2.0

_numbers = itertools.count(1)


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def at(controller: Controller, lab: Lab) -> Lab:
    return Lab(lab.api.at(controller), lab.device, lab.credential)


def quiet(terminal: Terminal) -> Terminal:
    terminal.type(QUIET)
    terminal.expect("ready")
    return terminal


def types_on(*terminals: Terminal) -> None:
    for terminal in terminals:
        number = next(_numbers)
        terminal.type(f"echo typed-{number}\r")
        terminal.expect(f"typed-{number}\r\n")


def flush(cluster: Cluster) -> None:
    with redis.Redis(port=cluster.valkey.port) as client:
        client.flushall()


def restart_empty(cluster: Cluster) -> None:
    cluster.valkey.kill()
    cluster.valkey.wipe()
    cluster.valkey.start()


def registered_epochs(cluster: Cluster, terminals: list[Terminal]) -> list[str | None]:
    with redis.Redis(port=cluster.valkey.port, decode_responses=True) as client:
        return [client.hget(f"netstacks:session:{each.info['session_id']}", "epoch") for each in terminals]


def kinds(controller: Controller) -> list[str]:
    return [each["kind"] for each in controller.login().get("/api/v1/ha/status")["events"]]


def statuses(cluster: Cluster) -> set[str]:
    return {each.health().get("status", "none") for each in cluster.controllers}


@pytest.mark.parametrize("lose", [flush, restart_empty])
def test_an_emptied_valkey_is_filled_again_by_the_owners(
    cluster: Cluster, lab: Lab, lose: Callable[[Cluster], None]
) -> None:
    a, b = cluster.controllers
    terminals = [quiet(lab.open(epoch=0, offset=0)), quiet(at(b, lab).open(epoch=0, offset=0))]
    first = terminals[0]
    link = share(first)
    rows = [row(cluster, each)[:2] for each in terminals]
    lose(cluster)
    types_on(*terminals)
    until(lambda: registered_epochs(cluster, terminals) == ["1", "1"], "both sessions in Valkey", REGISTERED_SECS)
    until(lambda: len(cluster.peer_addresses()) == 2, "both instances in Valkey", REGISTERED_SECS)
    viewer = Viewer(b, link).joined()
    first.vanish()
    again = come_back(first, b, epoch=1, offset=len(first.output))
    types_on(again)
    viewer.expect("typed-")
    assert [row(cluster, each)[:2] for each in terminals] == rows
    assert not {"reaped", "claimed", "fenced"} & set(kinds(a))


def test_without_valkey_everything_goes_on_and_nothing_is_taken(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    first = quiet(lab.open(epoch=0, offset=0))
    pid = shell_pid(first)
    link = share(first)
    cluster.valkey.kill()
    until(lambda: statuses(cluster) == {"degraded"}, "degraded health")
    away_since = time.monotonic()
    until(lambda: time.monotonic() > away_since + TTL_SECS + HEARTBEAT_SECS, "a whole TTL without Valkey")

    types_on(first)
    opened = [quiet(each.open(epoch=0, offset=0)) for each in (lab, at(b, lab))]
    Viewer(b, link).joined()
    for terminal, via in ((first, b), (opened[0], b), (opened[1], a)):
        terminal.vanish()
        types_on(come_back(terminal, via, epoch=1, offset=len(terminal.output)))
    assert shell_pid(come_back(first, b, epoch=1, offset=0)) == pid
    assert {row(cluster, each)[1] for each in (first, *opened)} == {1}
    assert statuses(cluster) == {"degraded"}

    # Valkey remembers a heartbeat of long ago, and whoever comes back first is not to draw conclusions.
    b.freeze()
    cluster.valkey.start()
    until(lambda: a.health()["status"] == "healthy", "contact of the first")
    healthy_since = time.monotonic()
    until(lambda: time.monotonic() > healthy_since + 2 * HEARTBEAT_SECS, "two rounds of its reaper")
    b.thaw()
    until(lambda: statuses(cluster) == {"healthy"}, "healthy again")
    until(lambda: registered_epochs(cluster, [first, *opened]) == ["1"] * 3, "all sessions in Valkey")
    assert audited(cluster, "session.claimed") == 0
    assert "reaped" not in kinds(a)


def test_a_death_that_can_be_proven_is_acted_upon_without_valkey_and_another_is_not(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    first = quiet(lab.open(epoch=0, offset=0))
    cluster.valkey.kill()
    until(lambda: statuses(cluster) == {"degraded"}, "degraded health")
    a.freeze()
    # Nobody served it, again and again.
    with pytest.raises(AssertionError, match="503"):
        come_back(first, b, epoch=1, offset=0, timeout_secs=TTL_SECS + 4)
    assert row(cluster, first)[1] == 1
    a.thaw()
    types_on(first)
    a.kill()
    again = come_back(first, b, epoch=1, offset=len(first.output))
    assert again.info["epoch"] == 2
    types_on(quiet(again))


def test_nobody_waits_long_for_a_frozen_valkey(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    first = quiet(lab.open(epoch=0, offset=0))
    paths = ("/api/v1/health", "/health", "/api/v1/ha/status", "/api/devices/browse", "/api/sessions")
    cluster.valkey.freeze()
    frozen_at, seen = time.monotonic(), set()
    while time.monotonic() < frozen_at + TTL_SECS + 2 * HEARTBEAT_SECS:
        for path in paths:
            asked_at = time.monotonic()
            body = lab.api.at(b).get(path)
            assert time.monotonic() - asked_at < LIMIT_SECS, path
            if path == "/api/v1/health":
                seen.add(body["status"])
        types_on(first)
    assert seen == {"healthy", "degraded"}
    assert statuses(cluster) == {"degraded"}

    second = quiet(at(b, lab).open(epoch=0, offset=0))
    first.vanish()
    types_on(come_back(first, b, epoch=1, offset=len(first.output)), second)
    cluster.valkey.thaw()
    until(lambda: statuses(cluster) == {"healthy"}, "healthy again")
    until(lambda: registered_epochs(cluster, [first, second]) == ["1", "1"], "both sessions in Valkey")
    assert "reaped" not in kinds(a)
    assert "periodic.overran" not in a.log() + b.log()


@pytest.mark.parametrize("by_secs", [3600, -3600])
def test_when_valkeys_clock_is_set_nobody_living_is_judged_and_the_dead_still_are(
    postgres: Postgres, sshd: Sshd, by_secs: int
) -> None:
    valkey = ClockedValkey()
    with Cluster(postgres, 3, valkey=valkey) as cluster:
        a, b, c = cluster.controllers
        lab = cluster.lab(sshd)
        first, second = quiet(lab.open(epoch=0, offset=0)), quiet(at(c, lab).open(epoch=0, offset=0))
        frozen = c.health()["instance_id"]
        # From then on all of them would judge.
        time.sleep(TTL_SECS + HEARTBEAT_SECS)
        c.freeze()
        valkey.set_clock(by_secs)
        until(lambda: all("registry.clock_set" in each.log() for each in (a, b)), "both to notice")
        second.vanish()
        again = come_back(second, a, b, epoch=1, offset=len(second.output))
        assert again.info["epoch"] == 2
        assert row(cluster, first)[1] == 1
        types_on(first, quiet(again))
        events = a.login().get("/api/v1/ha/status")["events"]
        assert {each["instance_id"] for each in events if each["kind"] == "reaped"} <= {frozen}
        until(lambda: frozen not in cluster.peer_addresses(), "the frozen one to be taken off the list")
        c.thaw()
        cluster.gathered(3)


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_an_instance_that_is_cut_off_from_valkey_keeps_its_sessions(postgres: Postgres, sshd: Sshd, fault: str) -> None:
    """Whoever would claim dials it first, and is proxied."""
    cluster = Cluster(postgres, 3)
    wire = Wire(cluster.valkey.port)
    a, b, _ = cluster.controllers
    a.environ["VALKEY_URL"] = f"redis://127.0.0.1:{wire.port}/0"
    with cluster, closing(wire):
        lab = cluster.lab(sshd)
        first = quiet(lab.open(epoch=0, offset=0))
        pid = shell_pid(first)
        cut_off = a.health()["instance_id"]
        getattr(wire, fault)()
        until(lambda: cut_off not in cluster.peer_addresses(), "the others to take it off the list")
        assert a.health()["status"] == "degraded"
        assert b.health()["status"] == "healthy"
        types_on(first)
        first.vanish()
        again = come_back(first, b, epoch=1, offset=len(first.output))
        assert shell_pid(again) == pid
        opened = quiet(lab.open(epoch=0, offset=0))
        opened.vanish()
        types_on(come_back(opened, b, epoch=1, offset=len(opened.output)))

        wire.restore() if fault == "cut" else wire.thaw()
        until(lambda: a.health()["status"] == "healthy", "contact again")
        until(lambda: registered_epochs(cluster, [first, opened]) == ["1", "1"], "both sessions in Valkey")
        assert audited(cluster, "session.claimed") == 0
        types_on(again)


def test_a_slow_link_to_valkey_costs_no_instance_its_place(postgres: Postgres, sshd: Sshd) -> None:
    cluster = Cluster(postgres, 2)
    wire = Wire(cluster.valkey.port)
    a, b = cluster.controllers
    a.environ["VALKEY_URL"] = f"redis://127.0.0.1:{wire.port}/0"
    with cluster, closing(wire):
        lab = cluster.lab(sshd)
        first, elsewhere = quiet(lab.open(epoch=0, offset=0)), quiet(at(b, lab).open(epoch=0, offset=0))
        # A third of what a reply may take: several of them are one heartbeat.
        wire.delay(0.15)
        for _ in range(2 * TTL_SECS):
            assert statuses(cluster) == {"healthy"}
            types_on(first)
            time.sleep(1)
        elsewhere.vanish()
        second, again = (
            quiet(lab.open(epoch=0, offset=0)),
            come_back(elsewhere, a, epoch=1, offset=len(elsewhere.output)),
        )
        types_on(first, second, again)
        assert again.info["epoch"] == 1
        until(lambda: registered_epochs(cluster, [first, second, again]) == ["1", "1", "1"], "all sessions in Valkey")
        assert "registry.away" not in a.log() + b.log()


def test_an_instance_that_its_peers_cannot_reach_keeps_its_sessions(postgres: Postgres, sshd: Sshd) -> None:
    """Its heartbeats say that it lives, so that its users are asked to come again, and nobody claims."""
    cluster = Cluster(postgres, 2)
    a, b = cluster.controllers
    # An address for documentation, at which nobody listens (RFC 5737).
    a.environ["HA_ADVERTISE_HOST"] = "192.0.2.1"
    with cluster:
        first = quiet(cluster.lab(sshd).open(epoch=0, offset=0))
        # Nobody served it, again and again.
        with pytest.raises(AssertionError, match="503"):
            come_back(first, b, epoch=1, offset=0, timeout_secs=TTL_SECS + HEARTBEAT_SECS)
        types_on(first)
        assert row(cluster, first)[1] == 1
        assert audited(cluster, "session.claimed") == 0


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, to be frozen."""
    server = Postgres().start()
    yield server
    server.destroy()


def test_an_instance_whose_stores_all_hang_still_gets_its_users(own_postgres: Postgres, sshd: Sshd) -> None:
    """Unhealthy would take every instance from the load balancer."""
    with Cluster(own_postgres, 1) as cluster:
        controller = cluster.controllers[0]
        first = quiet(cluster.lab(sshd).open(epoch=0, offset=0))
        own_postgres.freeze()
        cluster.valkey.freeze()
        until(lambda: controller.health()["degraded"] == ["valkey", "database"], "both to be missed")
        frozen_at = time.monotonic()
        while time.monotonic() < frozen_at + 2 * TTL_SECS:
            assert controller.health()["status"] == "degraded"
            time.sleep(0.1)
        types_on(first)
        first.vanish()
        types_on(come_back(first, controller, epoch=1, offset=len(first.output)))
        own_postgres.thaw()
        cluster.valkey.thaw()
        until(lambda: statuses(cluster) == {"healthy"}, "healthy again")


def test_a_full_instance_answers_its_peers_and_goes_on_when_there_is_room(postgres: Postgres) -> None:
    """Its balancer sees that it takes nothing more; whoever asks at its private address hears that it lives."""
    cluster = Cluster(postgres, 1)
    controller = cluster.controllers[0]
    controller.environ["GUNICORN_CMD_ARGS"] += " --worker-connections=8"
    with cluster, ExitStack() as held:
        (private,) = cluster.peer_addresses().values()
        for _ in range(8):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", controller.port)))
            # Half a request: its greenlet waits for the rest.
            connection.sendall(b"GET /api/v1/health HTTP/1.1\r\n")
        until(lambda: not controller.health(), "a full instance", 60)
        answer = requests.get(f"http://{private}/api/v1/health", timeout=5)
        assert answer.json()["status"] == "healthy"
        held.close()
        until(lambda: controller.health().get("status") == "healthy", "room")
