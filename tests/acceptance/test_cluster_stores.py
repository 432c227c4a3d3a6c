"""A cluster whose Valkey or PostgreSQL is away, or whose licence allows none."""

import pytest

from tests.acceptance.cluster import TEAMS_LICENSE, Cluster, come_back
from tests.acceptance.lab import Lab
from tests.acceptance.shells import shell_pid
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import Valkey


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def test_without_valkey_a_terminal_is_reached_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    _, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    pid = shell_pid(first)
    cluster.valkey.kill()
    first.vanish()
    again = come_back(first, b, epoch=1, offset=len(first.output))
    assert shell_pid(again) == pid
    again.leave()


def test_without_postgresql_a_terminal_is_reached_through_any_instance(own_postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(own_postgres, 2) as cluster:
        b = cluster.controllers[1]
        lab = cluster.lab(sshd)
        first = lab.open(epoch=0, offset=0)
        pid = shell_pid(first)
        own_postgres.stop()
        first.vanish()
        again = come_back(first, b, epoch=1, offset=len(first.output))
        assert shell_pid(again) == pid
        again.leave()


def test_valkey_that_is_absent_at_the_start_is_joined_when_it_appears(postgres: Postgres) -> None:
    valkey = Valkey()
    with_valkey = Controller(postgres.create_database(), VALKEY_URL=valkey.url, HA_HEARTBEAT_INTERVAL_SECS="2")
    with_valkey.start(wait_for="degraded")
    try:
        assert "valkey" in with_valkey.health()["degraded"]
        valkey.start()
        until(lambda: with_valkey.health().get("status") == "healthy", "an instance that has joined")
    finally:
        with_valkey.stop()
        valkey.destroy()


def test_a_licence_without_high_availability_makes_a_single_instance_of_each(postgres: Postgres) -> None:
    valkey = Valkey().start()
    url = postgres.create_database()
    first = Controller(url, VALKEY_URL=valkey.url).start()
    assert first.health()["valkey"] == "connected"
    first.login().post("/api/admin/license/activate", {"license_key": TEAMS_LICENSE})
    first.stop()
    second = Controller(url, VALKEY_URL=valkey.url).start()
    try:
        assert second.health()["valkey"] == "disabled"
        assert second.health()["cluster"]["registered_instances"] == 1
        assert second.log().count("ha.not_licensed") == 1
        assert "this one is Teams" in second.login().get("/api/v1/ha/status")["valkey"]["error"]
    finally:
        second.stop()
        valkey.destroy()
