"""Valkey is emptied, restarted, killed or frozen: no terminal is lost."""

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import Viewer, share
from tests.acceptance.shells import quiet, shell_pid, types_on
from tests.acceptance.short_ttl import HEARTBEAT_SECS, TIMES, TTL_SECS, kinds, registered_epochs, statuses
from tests.acceptance.stored import audited, row
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd

# The promise is two heartbeats; the rest is for a slow machine.
REGISTERED_SECS = 2 * HEARTBEAT_SECS + 20
# No request, heartbeat or page waits longer than 2 s for a store that hangs; the rest is for a slow machine.
MEASURED_LIMIT_SECS = 10.0


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, **TIMES) as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def flush(cluster: Cluster) -> None:
    with redis.Redis(port=cluster.valkey.port) as client:
        client.flushall()


def restart_empty(cluster: Cluster) -> None:
    cluster.valkey.kill()
    cluster.valkey.wipe()
    cluster.valkey.start()


@pytest.mark.parametrize("lose", [flush, restart_empty])
def test_an_emptied_valkey_is_filled_again_by_the_owners(
    cluster: Cluster, lab: Lab, lose: Callable[[Cluster], None]
) -> None:
    a, b = cluster.controllers
    terminals = [quiet(lab.open(epoch=0, offset=0)), quiet(lab.at(b).open(epoch=0, offset=0))]
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
    opened = [quiet(each.open(epoch=0, offset=0)) for each in (lab, lab.at(b))]
    Viewer(b, link).joined()
    for terminal, via in ((first, b), (opened[0], b), (opened[1], a)):
        terminal.vanish()
        types_on(come_back(terminal, via, epoch=1, offset=len(terminal.output)))
    assert shell_pid(come_back(first, b, epoch=1, offset=0)) == pid
    assert {row(cluster, each)[1] for each in (first, *opened)} == {1}
    assert statuses(cluster) == {"degraded"}

    # Valkey remembers an old heartbeat of b. The first instance in contact must not reap b for it.
    b.freeze()
    cluster.valkey.start()
    until(lambda: a.health().get("status") == "healthy", "contact of the first")
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
    # Every attempt was refused.
    with pytest.raises(AssertionError, match="503"):
        come_back(first, b, epoch=1, offset=0, timeout_secs=TTL_SECS + 4)
    assert row(cluster, first)[1] == 1
    a.thaw()
    types_on(first)
    a.kill()
    again = come_back(first, b, epoch=1, offset=len(first.output))
    assert again.info["epoch"] == 2
    types_on(quiet(again))


def test_no_request_waits_long_for_a_frozen_valkey(cluster: Cluster, lab: Lab) -> None:
    a, b = cluster.controllers
    first = quiet(lab.open(epoch=0, offset=0))
    paths = ("/api/v1/health", "/health", "/api/v1/ha/status", "/api/devices/browse", "/api/sessions")
    cluster.valkey.freeze()
    frozen_at, seen = time.monotonic(), set()
    while time.monotonic() < frozen_at + TTL_SECS + 2 * HEARTBEAT_SECS:
        for path in paths:
            asked_at = time.monotonic()
            body = lab.api.at(b).get(path)
            assert time.monotonic() - asked_at < MEASURED_LIMIT_SECS, path
            if path == "/api/v1/health":
                seen.add(body["status"])
        types_on(first)
    # "healthy" only if it is asked before the first heartbeat that fails.
    assert seen | {"healthy"} == {"healthy", "degraded"}
    assert statuses(cluster) == {"degraded"}

    second = quiet(lab.at(b).open(epoch=0, offset=0))
    first.vanish()
    types_on(come_back(first, b, epoch=1, offset=len(first.output)), second)
    cluster.valkey.thaw()
    until(lambda: statuses(cluster) == {"healthy"}, "healthy again")
    until(lambda: registered_epochs(cluster, [first, second]) == ["1", "1"], "both sessions in Valkey")
    assert "reaped" not in kinds(a)
