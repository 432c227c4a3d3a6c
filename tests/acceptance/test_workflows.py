"""The specification's workflows, one after the other on one installation with an open terminal: a single instance gets
Valkey, a second instance behind a load balancer, and Sentinels, and is monitored."""

import re
from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, come_back
from tests.acceptance.controller_admin import ControllerAdmin, Visitor
from tests.acceptance.fronts import Front
from tests.acceptance.ha import command
from tests.acceptance.lab import make_lab
from tests.acceptance.shells import types_on
from tests.acceptance.short_ttl import kinds
from tests.controller import Controller, Terminal, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import SentinelCluster, Valkey

TIMES = {
    "HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS),
    "HA_STALE_INSTANCE_TTL_SECS": str(TTL_SECS),
    "TRUSTED_PROXIES": "127.0.0.1",
}


@pytest.fixture
def controllers(postgres: Postgres) -> Iterator[list[Controller]]:
    """Two on one database; the second one is not started yet."""
    url = postgres.create_database()
    both = [Controller(url, **TIMES) for _ in range(2)]
    try:
        both[0].start()
        yield both
    finally:
        for each in both:
            each.stop()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    valkey = Valkey()
    try:
        yield valkey.start()
    finally:
        valkey.destroy()


def restarted(controller: Controller, unset: str = "", **settings: str) -> None:
    """As an operator does: SIGTERM, other settings, start."""
    controller.terminate()
    assert controller.process is not None
    assert controller.process.wait(60) == 0
    controller.environ.update(settings)
    controller.environ.pop(unset, None)
    controller.start()


def goes_on(terminal: Terminal, via: Controller) -> Terminal:
    """Comes back to the same session."""
    terminal.vanish()
    again = come_back(terminal, via, epoch=terminal.info["epoch"], offset=len(terminal.output))
    assert again.info["session_id"] == terminal.info["session_id"]
    types_on(again)
    return again


@pytest.mark.timeout(400)
def test_an_installation_grows_from_one_instance_to_a_cluster_with_sentinels(
    controllers: list[Controller], valkey: Valkey, sentinels: SentinelCluster, sshd: Sshd
) -> None:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    first, second = controllers
    assert first.health()["valkey"] == "disabled"
    lab = make_lab(first.login(), sshd)
    terminal = lab.open(epoch=0, offset=0)

    # 1: Valkey, which the instance detects at its restart.
    restarted(first, VALKEY_URL=valkey.url)
    assert first.health()["valkey"] == "connected"
    terminal = goes_on(terminal, first)

    # 2: another instance with the same four settings, a load balancer, and the pages of administration behind it.
    second.environ["VALKEY_URL"] = valkey.url
    second.start()
    with Balancer("nginx", [each.port for each in controllers]) as balancer, ControllerAdmin(balancer) as admin:
        front = Front(balancer)
        until(lambda: health_of(controllers) == [("connected", 2)] * 2, "a cluster of two")
        terminal = goes_on(terminal, second)
        visitor = Visitor(admin)
        until(lambda: shown(visitor, controllers) == ["healthy"] * 2, "two healthy instances on HA status")

        # 3: Sentinels in place of VALKEY_URL, one instance after the other.
        for each in controllers:
            restarted(
                each,
                unset="VALKEY_URL",
                VALKEY_SENTINEL_URL=sentinels.url,
                VALKEY_SENTINEL_MASTER_NAME=SentinelCluster.MASTER_NAME,
            )
            terminal = goes_on(terminal, front)
        until(lambda: health_of(controllers) == [("connected", 2)] * 2, "a cluster of two behind Sentinels")
        sentinels.primary().kill()
        until(lambda: "failover" in kinds(first), "the failover", 60)
        until(lambda: health_of(controllers) == [("connected", 2)] * 2, "a cluster of two at the new primary", 60)
        terminal = goes_on(terminal, front)

        # 4: what the pages and the command line show afterwards.
        until(lambda: shown(visitor, controllers) == ["healthy"] * 2, "two healthy instances on HA status")
        until(lambda: command(first, "ha", "status").returncode == 0, "a healthy cluster on the command line")
        sessions = lab.api.at(first).get("/api/v1/sessions")["items"]
        assert [each["id"] for each in sessions] == [terminal.info["session_id"]]


def health_of(controllers: list[Controller]) -> list[tuple[str, int]]:
    found = [each.health() for each in controllers]
    return [(each.get("valkey", "none"), each.get("cluster", {}).get("healthy_instances", 0)) for each in found]


def shown(visitor: Visitor, controllers: list[Controller]) -> list[str]:
    """The states of the instances on the page HA status."""
    rows = [f'id="row-{each.health().get("instance_id")}"' for each in controllers]
    state = r'.*?<span class="state (\w+)">'
    page = visitor.get("/admin/ha").text
    return [found for row in rows for found in re.findall(row + state, page, re.DOTALL)]
