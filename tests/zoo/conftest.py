"""One controller for the whole zoo, and a healthy terminal beside it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controller import Api, Controller
from tests.postgres import Postgres
from tests.zoo.animals import PROMPT, SECRET, USER, usual
from tests.zoo.people import Person, meet
from tests.zoo.scripts import Channel, Console
from tests.zoo.server import Animal, ScriptedServer


@pytest.fixture(scope="module")
def zoo_database(postgres: Postgres) -> str:
    return postgres.create_database()


@pytest.fixture(scope="module")
def controller(zoo_database: str) -> Iterator[Controller]:
    controller = Controller(zoo_database, SESSION_DETACH_TTL_SECS="60")
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture(scope="module")
def api(controller: Controller) -> Api:
    return controller.login()


def add(api: Api, server: ScriptedServer, **members: Any) -> Any:
    """The server as a device whose host key is known."""
    return api.add_device(server.host, server.port, host_key=server.host_key, **members)


class Healthy:
    """A terminal that prints a line ten times a second, whatever happens beside it; `check` wants every byte of it."""

    def __init__(self, api: Api) -> None:
        self._stop = threading.Event()
        self._sent = b""
        self._server = ScriptedServer(self._animal()).__enter__()
        self._person = self._meet(api)

    def _animal(self) -> Animal:
        def count(channel: Channel) -> None:
            number = 0
            while not self._stop.wait(0.1):
                number += 1
                line = b"line %d of what a healthy device prints\r\n" % number
                channel.print(line)
                self._sent += line

        return usual(session=Console(PROMPT, commands={"count": count}))

    def _meet(self, api: Api) -> Person:
        device = add(api, self._server)
        person = meet(api, "client", device, api.add_credential(USER, SECRET, name="healthy"))
        person.sees(PROMPT)
        person.type("count\r")
        person.sees("line 1 ")
        return person

    def check(self) -> None:
        """Ends it, and compares."""
        if not self._stop.is_set():
            self._stop.set()
            self._person.sees_times(PROMPT, 2)
            printed = PROMPT.encode() + b"count\r\n" + self._sent + PROMPT.encode()
            assert self._person.output[-len(printed) :] == printed

    def leave(self) -> None:
        self._stop.set()
        self._person.leave()
        self._server.__exit__()


@pytest.fixture(scope="module")
def healthy(api: Api) -> Iterator[Healthy]:
    healthy = Healthy(api)
    yield healthy
    healthy.leave()
