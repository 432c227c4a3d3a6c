"""Hundreds of terminals lose their instance at once: all come back, and nothing else suffers. Rules, not times."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.cheap_sshd import CheapSshd
from bench.crowd_clients import Crowd
from tests.acceptance.cluster import Cluster
from tests.controller import Api, Controller, Terminal, terminal_query, until
from tests.postgres import Postgres

pytestmark = [pytest.mark.alone, pytest.mark.timeout(400)]

SESSIONS = 300
_AT_ONCE = 8
_ALL_BACK_SECS = 200


class Bystander:
    """A user at the standby that types through the storm and checks every byte of the echo."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._begins_at = len(terminal.output)
        self._typed = b""
        self._has_left = threading.Event()
        self._thread = threading.Thread(target=self._type, daemon=True)
        self._thread.start()

    def _type(self) -> None:
        number = 0
        while not self._has_left.wait(0.05):
            number += 1
            keys = b"%d," % number
            self._terminal.type(keys)
            self._typed += keys

    def check(self) -> None:
        self._has_left.set()
        self._thread.join()
        assert self._typed
        until(lambda: self._echo() == self._typed or self._terminal.close, "the echo of all that was typed")
        assert self._echo() == self._typed

    def _echo(self) -> bytes:
        return self._terminal.output[self._begins_at :]


class HealthCheck:
    """A load balancer that asks one instance for its health all the time."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.answers: list[str] = []
        self._has_left = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._has_left.wait(0.2):
            self.answers.append(self._controller.health().get("status", "no answer"))

    def stop(self) -> None:
        self._has_left.set()
        self._thread.join()


class Storm:
    """Two instances, devices by the hundred, and as many terminals on the first instance."""

    def __init__(self, cluster: Cluster, sshd: CheapSshd) -> None:
        self.owner, self.standby = cluster.controllers
        self.api: Api = self.owner.login()
        self._sshd = sshd
        self._credential = self.api.add_credential(sshd.user, sshd.password)
        key = (sshd.host_key_type, sshd.host_key_base64)
        self._devices = [
            self.api.add_device(f"127.1.1.{1 + number}", sshd.port, host_key=key, name=f"sw-{number}")
            for number in range(20)
        ]

    def query(self, number: int) -> dict[str, Any]:
        return terminal_query(self._devices[number % len(self._devices)], self._credential)

    def bystander(self) -> Bystander:
        terminal = Terminal(self.api.at(self.standby), self.query(0) | {"epoch": 0, "offset": 0}).connected()
        terminal.expect("device#")
        return Bystander(terminal)

    def run(self, strike: Callable[[], None]) -> Crowd:
        return asyncio.run(self._run(strike))

    async def _run(self, strike: Callable[[], None]) -> Crowd:
        loop = asyncio.get_running_loop()
        async with Crowd([self.owner.port], [self.api.token]) as crowd:
            crowd.start_pings()
            await crowd.open([self.query(number) for number in range(SESSIONS)], pages=0.5, at_once=_AT_ONCE)
            tokens = {client.place.token for client in crowd.clients}
            assert len(tokens) == SESSIONS
            crowd.ports = [self.standby.port]
            began_at, give_up_at = loop.time(), loop.time() + _ALL_BACK_SECS
            strike()
            while len(crowd.connected_since(began_at)) + crowd.refusals().total() < SESSIONS:
                back = len(crowd.connected_since(began_at))
                assert loop.time() < give_up_at, f"{back} of {SESSIONS} are back; {crowd.tally.reasons}"
                await asyncio.sleep(0.1)
            assert not crowd.refusals()
            # Their own sessions, and alive.
            assert {client.place.token for client in crowd.clients} == tokens
            assert await crowd.count_silent() == 0
        return crowd


@pytest.fixture
def storm(postgres: Postgres) -> Iterator[Storm]:
    with CheapSshd() as sshd, Cluster(postgres, 2, DRAIN_TIMEOUT_SECS="30", SESSION_DETACH_TTL_SECS="300") as cluster:
        yield Storm(cluster, sshd)


@pytest.mark.parametrize("kind", ["killed", "drained"])
def test_after_the_loss_of_an_instance_all_its_terminals_come_back_and_no_other_suffers(
    storm: Storm, kind: str
) -> None:
    bystander, health = storm.bystander(), HealthCheck(storm.standby)
    crowd = storm.run(storm.owner.kill if kind == "killed" else storm.owner.terminate)
    health.stop()
    bystander.check()
    assert set(health.answers) <= {"healthy", "degraded"}, health.answers
    # A client that waits is let in in its turn; it is not sent away to come again and again.
    assert crowd.tally.refused == 0, crowd.tally.reasons
    if kind == "drained":
        assert crowd.tally.closed == 0, crowd.tally.reasons
