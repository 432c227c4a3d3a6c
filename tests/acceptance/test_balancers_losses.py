"""Instances are killed and drained behind real load balancers, with the files of deploy/ as they are."""

import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.fronts import Front, bearer
from tests.acceptance.lab import Lab
from tests.acceptance.shells import COUNT, COUNTED, STOPS, prints
from tests.acceptance.stored import row
from tests.controller import Controller, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # Half of a drain's time is a printing device's.
    with Cluster(postgres, 2, TRUSTED_PROXIES="127.0.0.1", DRAIN_TIMEOUT_SECS="120") as cluster:
        yield cluster


@pytest.fixture(params=["nginx", "haproxy"])
def balancer(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Balancer]:
    if not is_installed(request.param):
        pytest.skip(f"needs Debian's {request.param}")
    with Balancer(request.param, [each.port for each in cluster.controllers]) as balancer:
        yield balancer


@pytest.fixture
def front(balancer: Balancer) -> Controller:
    return Front(balancer)


def owner_of(cluster: Cluster, session_owner: str) -> Controller:
    return next(each for each in cluster.controllers if each.health()["instance_id"] == session_owner)


def test_a_kill_in_the_middle_of_a_flood_is_survived(
    cluster: Cluster, front: Controller, balancer: Balancer, sshd: Sshd
) -> None:
    lab = cluster.lab(sshd)
    lab = Lab(lab.api.at(front), lab.device, lab.credential)
    terminal = lab.open(epoch=0, offset=0)
    owner = owner_of(cluster, row(cluster, terminal)[0])
    terminal.type("PS1=; stty -echo; clear; seq 1000000; seq 1000000\r")
    until(lambda: len(terminal.output) > 1_000_000, "a flood")
    owner.kill()
    terminal.closed()
    again = come_back(terminal, front, epoch=1, offset=len(terminal.output))
    assert again.info["epoch"] == 2
    again.type(COUNT)
    again.expect("40999\r\n", 60)
    assert COUNTED in again.output
    again.leave()
    assert terminal.api.token not in balancer.log()
    assert str(terminal.token) not in balancer.log()


def test_a_drain_fails_no_request(cluster: Cluster, front: Controller) -> None:
    api = cluster.controllers[0].login().at(front)
    answers: list[int] = []
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            answers.append(
                requests.get(f"{front.url}/api/devices/browse", headers=bearer(api.token), timeout=30).status_code
            )
            time.sleep(0.01)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    until(lambda: len(answers) > 50, "some answers")
    drained = cluster.controllers[0]
    drained.terminate()
    assert drained.process is not None
    assert drained.process.wait(60) == 0
    enough = len(answers) + 50
    until(lambda: len(answers) > enough, "more answers")
    stopping.set()
    for each in asking:
        each.join()
    assert set(answers) == {200}


@pytest.fixture
def haproxy(cluster: Cluster) -> Iterator[Balancer]:
    if not is_installed("haproxy"):
        pytest.skip("needs Debian's haproxy")
    with Balancer("haproxy", [each.port for each in cluster.controllers]) as balancer:
        yield balancer


def test_a_client_of_a_relay_that_hangs_is_at_its_session_again(
    cluster: Cluster, haproxy: Balancer, sshd: Sshd
) -> None:
    """Its connection stays open, so that the client itself would notice nothing for minutes."""
    owner, relay = cluster.controllers
    lab = cluster.lab(sshd)
    terminal = Lab(lab.api.at(owner), lab.device, lab.credential).open(epoch=0, offset=0)
    terminal.type("echo first-$((6*7))\r")
    terminal.expect("first-42")
    front = Front(haproxy)
    until(lambda: haproxy.connections() == [0, 0], "the end of the requests of before")
    while True:
        terminal.leave()
        terminal = come_back(terminal, front, epoch=terminal.info["epoch"], offset=0)
        if haproxy.connections()[1]:
            break
    relay.freeze()
    terminal.closed(60)
    again = come_back(terminal, front, epoch=terminal.info["epoch"], offset=0)
    assert again.info["epoch"] == terminal.info["epoch"]
    again.type("echo second-$((6*7))\r")
    again.expect("second-42")
    relay.thaw()


def test_a_drain_behind_haproxy_closes_terminals_in_its_own_order(
    cluster: Cluster, haproxy: Balancer, sshd: Sshd
) -> None:
    """HAProxy cuts the connections of a server that is down, and a draining one is not."""
    lab = cluster.lab(sshd)
    lab = Lab(lab.api.at(Front(haproxy)), lab.device, lab.credential)
    terminals = [lab.open(epoch=0, offset=0) for _ in range(4)]
    drained = cluster.controllers[0]
    owned = [each for each in terminals if owner_of(cluster, row(cluster, each)[0]) is drained]
    assert owned
    # Work that the drain waits for: HAProxy checks it meanwhile.
    for each in owned:
        each.type(prints("working"))
        each.expect("working\r\n")
    drained.terminate()
    stopping = "3"
    until(lambda: haproxy.servers()[0]["srv_op_state"] == stopping, "HAProxy sees the drain")
    assert [each.close for each in owned] == [None] * len(owned)
    for each in owned:
        each.type(STOPS)
    assert [each.closed(90)[0] for each in owned] == [1012] * len(owned)
    assert drained.process is not None
    assert drained.process.wait(60) == 0
