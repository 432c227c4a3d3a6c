"""Instances are killed and drained behind real load balancers, with the files of deploy/ as they are."""

import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.fronts import Front, bearer
from tests.acceptance.lab import Lab
from tests.acceptance.shells import COUNT, COUNTED
from tests.acceptance.stored import row
from tests.controller import Controller, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, TRUSTED_PROXIES="127.0.0.1") as cluster:
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
                requests.get(f"{front.url}/api/devices/browse", headers=bearer(api.token), timeout=10).status_code
            )
            time.sleep(0.01)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    until(lambda: len(answers) > 50, "some answers")
    drained = cluster.controllers[0]
    drained.terminate()
    assert drained.process is not None
    assert drained.process.wait(30) == 0
    enough = len(answers) + 50
    until(lambda: len(answers) > enough, "more answers")
    stopping.set()
    for each in asking:
        each.join()
    assert set(answers) == {200}
