"""The Valkey primary dies or freezes under open terminals; a replica takes its place without an interruption."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.acceptance.cluster import HEARTBEAT_SECS, Cluster, come_back
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import QUIET, Viewer, share
from tests.acceptance.stored import row
from tests.controller import Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import SentinelCluster, Valkey

# The promise is two heartbeats; the rest is for a slow machine.
REGISTERED_SECS = 2 * HEARTBEAT_SECS + 20


@pytest.fixture
def cluster(postgres: Postgres, sentinels: SentinelCluster) -> Iterator[Cluster]:
    with Cluster(postgres, 3, sentinels) as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def registered(node: Valkey, terminals: list[Terminal]) -> list[dict[str, str]]:
    """What a node holds of these sessions; empty while it holds not all of them."""
    try:
        with redis.Redis(port=node.port, socket_timeout=2, decode_responses=True) as client:
            found: list[Any] = [client.hgetall(f"netstacks:session:{each.info['session_id']}") for each in terminals]
    except redis.RedisError:
        return []
    return found if all(found) else []


def takes_writes(node: Valkey) -> bool:
    """A primary without a replica takes none (deployment files: min-replicas-to-write)."""
    with redis.Redis(port=node.port, socket_timeout=2) as client:
        return bool(client.info("replication")["min_slaves_good_slaves"])


def forget(node: Valkey, terminal: Terminal) -> None:
    """As a failover does with what the replicas did not have yet."""
    with redis.Redis(port=node.port) as client:
        client.delete(f"netstacks:session:{terminal.info['session_id']}")


def events(cluster: Cluster, kind: str) -> list[Any]:
    status = cluster.controllers[0].login().get("/api/v1/ha/status")
    return [each for each in status["events"] if each["kind"] == kind]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_failover_costs_no_terminal_share_or_token(
    cluster: Cluster, lab: Lab, sentinels: SentinelCluster, fault: str
) -> None:
    _, b, c = cluster.controllers
    first, second = lab.open(epoch=0, offset=0), lab.open(epoch=0, offset=0)
    elsewhere = Lab(lab.api.at(b), lab.device, lab.credential).open(epoch=0, offset=0)
    terminals = [first, second, elsewhere]
    for terminal in terminals:
        terminal.type(QUIET)
        terminal.expect("ready")
    link = share(first)
    until(lambda: registered(sentinels.primary(), terminals), "the sessions in Valkey")
    rows = [row(cluster, each)[:2] for each in terminals]

    old = sentinels.primary()
    forget(old, second)
    getattr(old, fault)()
    for terminal in terminals:
        terminal.type("echo meanwhile-$((1+1))\r")
        terminal.expect("meanwhile-2\r\n")
    until(lambda: sentinels.primary() is not old, "the failover", SentinelCluster.FAILOVER_SECS)
    # A pause of the machine would be another one.
    sentinels.keep_primary()
    new = sentinels.primary()
    until(lambda: takes_writes(new), "a replica of the new primary")
    held = until(lambda: registered(new, terminals), "all sessions in the new primary", REGISTERED_SECS)
    assert [each["epoch"] for each in held] == ["1", "1", "1"]
    assert [row(cluster, each)[:2] for each in terminals] == rows
    assert len(until(lambda: events(cluster, "failover"), "the event")) == 1
    assert not events(cluster, "reaped")

    viewer = Viewer(c, link).joined()
    for terminal in terminals:
        terminal.vanish()
        again = come_back(terminal, c, epoch=1, offset=len(terminal.output))
        again.type("echo af''ter\r")
        again.expect("after\r\n")
        assert again.info["epoch"] == 1
    viewer.expect("after\r\n")

    old.thaw() if fault == "freeze" else old.start()
    opened = lab.open(epoch=0, offset=0)
    until(lambda: registered(new, [opened]), "a new session in the new primary")
    assert sentinels.primary() is new
    until(lambda: all(each.health().get("status") == "healthy" for each in cluster.controllers), "a healthy cluster")
    assert len(events(cluster, "failover")) == 1
