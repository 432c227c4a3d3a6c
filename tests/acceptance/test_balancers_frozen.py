"""An instance freezes behind nginx, which has no health checks: all its clients are at their sessions again soon."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
import requests
from websockets.exceptions import InvalidHandshake

from tests.acceptance.cluster import Cluster
from tests.acceptance.fronts import Front, bearer
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import share
from tests.acceptance.stored import row
from tests.controller import Controller, Terminal, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.web.websocket_peer import BINARY, PING, PONG, Peer, frame

# The program's own times: a short TTL would hide how long clients wait.
TIMES = {"HA_HEARTBEAT_INTERVAL_SECS": "5", "HA_STALE_INSTANCE_TTL_SECS": "30"}
METRICS_TOKEN = "0123456789abcdef-of-the-tests"
# nginx cuts after 15 s of silence, a handshake waits for 15 s more, and a claim until 30 s after the freeze. The rest
# is for a busy host.
CEILING_SECS = 120


@dataclass(frozen=True)
class Client:
    """How a client comes back: without a key that is typed, it notices the end of its connection only."""

    query: dict[str, int]
    first_delay_secs: float
    longest_delay_secs: float
    accept_within_secs: float


# The times of static/terminal/connection.js and of NetStacks Terminal (docs/protocol.md, 6.6); a browser limits a
# handshake only after minutes.
PAGE = Client({"epoch": 0, "offset": 0}, 0.5, 15, 20)
TERMINAL_CLIENT = Client({}, 1, 30, 120)


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2, TRUSTED_PROXIES="127.0.0.1", METRICS_TOKEN=METRICS_TOKEN, **TIMES) as cluster:
        yield cluster


@pytest.fixture
def front(cluster: Cluster) -> Iterator[Controller]:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    with Balancer("nginx", [each.port for each in cluster.controllers]) as balancer:
        yield Front(balancer)


def hops(controller: Controller) -> str:
    """How many connections this instance relays, as a number in text."""
    answer = requests.get(f"{controller.url}/metrics", headers=bearer(METRICS_TOKEN), timeout=20)
    return next(line for line in answer.text.splitlines() if line.startswith('netstacks_hops_open{direction="out"}'))


def owned(cluster: Cluster, lab: Lab, owner: Controller, client: Client) -> Terminal:
    """A terminal that the balancer has sent to `owner`. The others stay open, so that it chooses another one."""
    instance_id = owner.health()["instance_id"]
    while row(cluster, terminal := lab.open(**client.query))[0] != instance_id:
        pass
    return terminal


def relayed(lab: Lab, front: Controller, relay: Controller, owner: Controller, client: Client) -> Terminal:
    """A terminal of `owner` that the balancer has sent to `relay`."""
    before = hops(relay)
    while True:
        direct = lab.at(owner).open(**client.query)
        direct.vanish()
        terminal = direct.again(front, **client.query and {"epoch": 1, "offset": len(direct.output)}).connected()
        if hops(relay) != before:
            return terminal


class Returning(threading.Thread):
    """Waits for the end of the terminal's connection, then reconnects as its client does; `again` is the new one."""

    def __init__(self, terminal: Terminal, front: Controller, client: Client) -> None:
        super().__init__(daemon=True)
        self.terminal, self._front, self._client = terminal, front, client
        self.again: Terminal | None = None

    def run(self) -> None:
        self.terminal.closed(CEILING_SECS)
        delay_secs = self._client.first_delay_secs
        while self.again is None:
            # The pause of the client itself, not a wait for the server.
            time.sleep(delay_secs)
            delay_secs = min(2 * delay_secs, self._client.longest_delay_secs)
            with contextlib.suppress(InvalidHandshake, OSError):
                self._try()

    def _try(self) -> None:
        offsets = {"epoch": self.terminal.info["epoch"], "offset": len(self.terminal.output)}
        query = {**self.terminal.query, "reconnect_token": str(self.terminal.token)}
        again = Terminal(
            self.terminal.api.at(self._front),
            query | offsets if self._client.query else query,
            open_timeout_secs=self._client.accept_within_secs,
        )
        until(lambda: again.info or again.close, "SessionInfo or a close", CEILING_SECS)
        if again.info:
            self.again = again


def test_all_clients_of_an_instance_that_freezes_behind_nginx_are_back_soon(
    cluster: Cluster, front: Controller, sshd: Sshd
) -> None:
    frozen, other = cluster.controllers
    lab = cluster.lab(sshd)
    through_front = lab.at(front)
    returning: dict[str, Returning] = {}
    for name, client in (("page", PAGE), ("Terminal client", TERMINAL_CLIENT)):
        terminal = owned(cluster, through_front, frozen, client)
        returning[f"{name}, owned by the frozen one"] = Returning(terminal, front, client)
        terminal = relayed(lab, front, frozen, other, client)
        returning[f"{name}, relayed by it"] = Returning(terminal, front, client)
    frozen.freeze()
    for each in returning.values():
        each.start()

    try:
        until(lambda: all(each.again for each in returning.values()), "the return of all clients", CEILING_SECS)
        for name, each in returning.items():
            assert each.again is not None
            assert each.again.info["session_id"] == each.terminal.info["session_id"], name
            each.again.type("echo back-$((6*7))\r")
            each.again.expect("back-42")
    finally:
        frozen.thaw()


class Stream(threading.Thread):
    """Reads the events of HA status; `events` is their number."""

    def __init__(self, front: Controller, token: str) -> None:
        super().__init__(daemon=True)
        self.events = 0
        self._answer = requests.get(
            f"{front.url}/api/v1/ha/stream", headers=bearer(token), stream=True, timeout=CEILING_SECS
        )
        assert self._answer.ok, self._answer.text

    def run(self) -> None:
        with contextlib.suppress(requests.RequestException):
            for line in self._answer.iter_lines():
                self.events += line.startswith(b"data:")


def test_event_streams_of_an_instance_that_freezes_behind_nginx_end_and_others_open(
    cluster: Cluster, front: Controller
) -> None:
    frozen, other = cluster.controllers
    token = other.login().token
    # One at each instance: nginx chooses the one with the fewest connections.
    streams = [Stream(front, token), Stream(front, token)]
    for each in streams:
        each.start()
    until(lambda: all(each.events for each in streams), "the first events")
    frozen.freeze()
    try:
        until(lambda: not all(each.is_alive() for each in streams), "the end of one stream", CEILING_SECS)
        again = Stream(front, token)
        again.start()
        until(lambda: again.events, "events of the next stream", CEILING_SECS)
    finally:
        frozen.thaw()


def test_idle_connections_behind_nginx_are_not_cut(cluster: Cluster, front: Controller, sshd: Sshd) -> None:
    """Instances send something to every client every ten seconds, so that nginx need not wait for longer than 15 s."""
    opened = cluster.lab(sshd).at(front).open(**PAGE.query)
    link = share(opened)
    opened.vanish()
    token = {"token": opened.api.token}
    terminal = Peer(front.port, f"/ws/ssh?{urlencode({**opened.query, 'reconnect_token': str(opened.token), **token})}")
    viewer = Peer(front.port, f"/ws/shared?{urlencode({'share': link})}")
    jump_box = Peer(front.port, f"/ws/jumpbox?{urlencode({'cols': 80, 'rows': 24, **token})}")
    for each in (terminal, viewer, jump_box):
        signs = 0
        # The third one comes after 20 s or more. Without one, `receive` fails when nginx closes the connection.
        while signs < 3:
            received = each.receive()
            # A ping of eight bytes acknowledges output, and is no sign of life at a steady pace.
            signs += received.opcode in (PING, PONG) and len(received.payload) != 8
    terminal.send(frame(BINARY, b"\x01echo still-$((6*7))\r"))
    for each in (terminal, viewer):
        while b"still-42" not in each.receive().payload:
            pass
    for each in (terminal, viewer, jump_box):
        each.close()
