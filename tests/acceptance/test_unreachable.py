"""An instance is out of reach of its stores, its peers or its clients, and keeps its terminals."""

import socket
import time
from contextlib import ExitStack, closing

import pytest
import redis
import requests

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.shells import quiet, shell_pid, types_on
from tests.acceptance.short_ttl import HEARTBEAT_SECS, TIMES, TTL_SECS, registered_epochs, statuses
from tests.acceptance.stored import audited, row
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.wire import Wire


def last_heartbeat(cluster: Cluster, instance_id: str) -> float:
    """The time of the last heartbeat, by Valkey's clock."""
    with redis.Redis(port=cluster.valkey.port) as client:
        found = client.zscore("netstacks:instances", instance_id)
    assert isinstance(found, float), f"{instance_id} is not on the list"
    return found


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_an_instance_that_is_cut_off_from_valkey_keeps_its_sessions(postgres: Postgres, sshd: Sshd, fault: str) -> None:
    """An instance dials the owner before a claim, and proxies to it."""
    cluster = Cluster(postgres, 3, **TIMES)
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
        until(lambda: a.health().get("status") == "healthy", "contact again")
        until(lambda: registered_epochs(cluster, [first, opened]) == ["1", "1"], "both sessions in Valkey")
        assert audited(cluster, "session.claimed") == 0
        types_on(again)


def test_a_slow_link_to_valkey_costs_no_instance_its_place(postgres: Postgres, sshd: Sshd) -> None:
    cluster = Cluster(postgres, 2, **TIMES)
    wire = Wire(cluster.valkey.port)
    a, b = cluster.controllers
    a.environ["VALKEY_URL"] = f"redis://127.0.0.1:{wire.port}/0"
    with cluster, closing(wire):
        lab = cluster.lab(sshd)
        first, elsewhere = quiet(lab.open(epoch=0, offset=0)), quiet(lab.at(b).open(epoch=0, offset=0))
        # A fifth of a reply's time limit; a heartbeat needs several replies.
        wire.delay(0.1)
        delayed = a.health()["instance_id"]
        began_at = last_heartbeat(cluster, delayed)

        def has_outlived_its_ttl() -> bool:
            assert statuses(cluster) == {"healthy"}
            types_on(first)
            return last_heartbeat(cluster, delayed) > began_at + TTL_SECS

        until(has_outlived_its_ttl, "heartbeats over the slow link, for longer than an instance lives without one")
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
    """Its heartbeats prove that it lives: its users are asked to retry, and no instance claims."""
    cluster = Cluster(postgres, 2, **TIMES)
    a, b = cluster.controllers
    # An address for documentation, without a listener (RFC 5737).
    a.environ["HA_ADVERTISE_HOST"] = "192.0.2.1"
    with cluster:
        first = quiet(cluster.lab(sshd).open(epoch=0, offset=0))
        # Every attempt was refused.
        with pytest.raises(AssertionError, match="503"):
            come_back(first, b, epoch=1, offset=0, timeout_secs=TTL_SECS + HEARTBEAT_SECS)
        types_on(first)
        assert row(cluster, first)[1] == 1
        assert audited(cluster, "session.claimed") == 0


def test_an_instance_whose_stores_all_hang_still_gets_its_users(own_postgres: Postgres, sshd: Sshd) -> None:
    """Health stays degraded: unhealthy would take every instance from the load balancer."""
    with Cluster(own_postgres, 1, **TIMES) as cluster:
        controller = cluster.controllers[0]
        first = quiet(cluster.lab(sshd).open(epoch=0, offset=0))
        own_postgres.freeze()
        cluster.valkey.freeze()
        until(lambda: controller.health().get("degraded") == ["valkey", "database"], "both to be missed")
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


def test_an_instance_whose_places_are_held_answers_its_balancer_and_its_peers(postgres: Postgres) -> None:
    """The private address has places of its own, and at the public one the oldest unfinished request is given up."""
    cluster = Cluster(postgres, 1, **TIMES)
    controller = cluster.controllers[0]
    controller.environ["GUNICORN_CMD_ARGS"] += " --worker-connections=8"
    with cluster, ExitStack() as held:
        (private,) = cluster.peer_addresses().values()
        for _ in range(16):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", controller.port)))
            # Half a request: its greenlet waits for the rest.
            connection.sendall(b"GET /api/v1/health HTTP/1.1\r\n")
        assert controller.health()["status"] == "healthy"
        answer = requests.get(f"http://{private}/api/v1/health", timeout=30)
        assert answer.json()["status"] == "healthy"
