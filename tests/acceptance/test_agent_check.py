"""HAProxy spreads new terminals by how busy the instances are: real instances behind it, with deploy/haproxy.cfg."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import make_lab
from tests.acceptance.shells import STOPS, prints
from tests.controller import Controller, until
from tests.deploy.balancers import HAPROXY, Balancer
from tests.ports import free_port
from tests.postgres import Postgres
from tests.sshd import Sshd

# HAProxy's own numbers, see `show servers state` in its management guide.
FORCED_DRAIN = 0x08
RUNNING, STOPPING = "2", "3"
# More terminals than an instance opens between two looks at its load.
CROWD = 150


def agent_port(controller: Controller) -> int:
    return int(controller.environ["AGENT_CHECK_PORT"])


def agent_answer(controller: Controller) -> str:
    with socket.create_connection(("127.0.0.1", agent_port(controller)), timeout=10) as client:
        return client.makefile().read()


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # Half of a drain's time is a printing device's.
    cluster = Cluster(postgres, 2, TRUSTED_PROXIES="127.0.0.1", DRAIN_TIMEOUT_SECS="120")
    for each in cluster.controllers:
        each.environ["AGENT_CHECK_PORT"] = str(free_port())
    with cluster:
        yield cluster


@pytest.fixture
def haproxy(cluster: Cluster) -> Iterator[Balancer]:
    if HAPROXY is None:
        pytest.skip("needs Debian's haproxy")
    ports = [each.port for each in cluster.controllers]
    with Balancer("haproxy", ports, [agent_port(each) for each in cluster.controllers]) as balancer:
        yield balancer


class Front(Controller):
    """The load balancer as clients see it: an address like a controller's."""

    def __init__(self, balancer: Balancer) -> None:
        self.port, self.url = balancer.port, balancer.url


class Busy:
    """Keeps an instance busy with requests, for as long as the `with` block lasts."""

    # Cheap for the one that asks. It waits for all answers: the event loop must turn meanwhile.
    _AT_ONCE = 20
    _REQUEST = b"GET /api/v1/health/live HTTP/1.1\r\nHost: test\r\n\r\n"
    _ANSWER = b'{"status": "alive"}'

    def __init__(self, controller: Controller) -> None:
        self._port = controller.port
        self._is_over = threading.Event()
        self._askers = [threading.Thread(target=self._ask, daemon=True) for _ in range(3)]

    def __enter__(self) -> None:
        for each in self._askers:
            each.start()

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as client:
            while not self._is_over.is_set():
                client.sendall(self._REQUEST * self._AT_ONCE)
                answers = b""
                while answers.count(self._ANSWER) < self._AT_ONCE:
                    answers += client.recv(1 << 16)

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._askers:
            each.join()


def test_the_weight_of_a_busy_instance_falls_and_rises_again(cluster: Cluster, haproxy: Balancer) -> None:
    def weights() -> list[int]:
        return [int(each["srv_uweight"]) for each in haproxy.servers()]

    def loads() -> list[int]:
        return [each.health()["load"] for each in cluster.controllers]

    until(lambda: min(weights()) > 80, "two idle instances", 60)
    with Busy(cluster.controllers[0]):
        until(lambda: weights()[0] + 20 < weights()[1], "the busy instance's lower weight", 60)
        until(lambda: loads()[0] > loads()[1], "the busy instance's higher load")
    until(lambda: min(weights()) > 80, "two idle instances again", 60)
    assert {each["srv_op_state"] for each in haproxy.servers()} == {RUNNING}


def test_an_instance_whose_clients_wait_has_the_least_weight(cluster: Cluster, haproxy: Balancer) -> None:
    api = cluster.controllers[0].login()
    credential = api.add_credential("ana", "a secret")
    with socket.create_server(("127.0.0.1", 0), backlog=2 * CROWD) as silent:
        device = api.add_device("127.0.0.1", silent.getsockname()[1])
        crowd = [threading.Thread(target=api.open, args=(device, credential), daemon=True) for _ in range(CROWD)]
        for each in crowd:
            each.start()
        until(lambda: haproxy.servers()[0]["srv_uweight"] == "1", "the least weight")
        assert int(haproxy.servers()[1]["srv_uweight"]) > 1
        for each in crowd:
            each.join()


def test_a_draining_instance_keeps_its_open_terminal_and_comes_back_after_a_restart(
    cluster: Cluster, haproxy: Balancer, sshd: Sshd
) -> None:
    lab = make_lab(cluster.controllers[0].login().at(Front(haproxy)), sshd)
    terminal = lab.open(epoch=0, offset=0)
    until(lambda: any(local_sessions(each) for each in cluster.controllers), "the session in its owner's health")
    number = next(n for n, each in enumerate(cluster.controllers) if local_sessions(each))
    drained = cluster.controllers[number]

    def state() -> dict[str, str]:
        return haproxy.servers()[number]

    terminal.type(prints("still"))
    terminal.expect("still\r\n")
    drained.terminate()
    until(lambda: int(state()["srv_admin_state"]) & FORCED_DRAIN, "the drain")
    assert agent_answer(drained) == "drain\n"
    # Not stopped: its open connections would be cut.
    until(lambda: state()["srv_op_state"] == STOPPING, "the answers of its health checks")
    printed = terminal.output.count(b"still\r\n")
    until(lambda: terminal.output.count(b"still\r\n") > printed + 5, "more of the terminal's output")
    assert terminal.close is None
    terminal.type(STOPS)
    assert terminal.closed() == (1012, "the controller is restarting")
    assert drained.process is not None
    assert drained.process.wait(60) == 0
    drained.start()
    until(lambda: state()["srv_op_state"] == RUNNING and state()["srv_admin_state"] == "0", "its return to service")


def local_sessions(controller: Controller) -> int:
    return int(controller.health()["cluster"]["local_sessions"])


def test_an_instance_whose_port_is_taken_says_so_and_ends(postgres: Postgres) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        controller = Controller(postgres.create_database(), AGENT_CHECK_PORT=str(port)).launch()
        try:
            assert controller.process is not None
            assert controller.process.wait(60) == 3
            lines = [line for line in controller.log().splitlines() if "agent_check.refused" in line]
            assert len(lines) == 1
            assert str(port) in lines[0]
            assert "Traceback" not in controller.log()
        finally:
            controller.stop()


def test_several_workers_share_the_port(postgres: Postgres) -> None:
    controller = Controller(postgres.create_database(), AGENT_CHECK_PORT=str(free_port()), WEB_CONCURRENCY="2").start()
    try:
        until(lambda: controller.log().count("instance.started") == 2, "two workers")
        until(lambda: agent_answer(controller).startswith("up ready "), "an answer")
        assert "agent_check.refused" not in controller.log()
    finally:
        controller.stop()
