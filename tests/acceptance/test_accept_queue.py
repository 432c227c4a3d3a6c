"""Thousands of clients that connect in one moment find room in the accept queue: none waits for a second try."""

import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.controller import Controller, until
from tests.deploy.balancers import HAPROXY, Balancer
from tests.postgres import Postgres

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")

# More than the default of gunicorn, 2,048, and that of nginx, 511; and no more than the kernel's limit.
CLIENTS = min(3000, int(Path("/proc/sys/net/core/somaxconn").read_text()))


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), GUNICORN_CMD_ARGS="--timeout=0").start()
    yield controller
    controller.stop()


def nginx(controller: Controller, stack: ExitStack) -> tuple[int, int]:
    balancer = stack.enter_context(Balancer("nginx", [controller.port]))
    return balancer.port, balancer.pid


def haproxy(controller: Controller, stack: ExitStack) -> tuple[int, int]:
    balancer = stack.enter_context(Balancer("haproxy", [controller.port]))
    return balancer.port, balancer.pid


def controller_itself(controller: Controller, stack: ExitStack) -> tuple[int, int]:
    assert controller.process is not None
    return controller.port, controller.process.pid


@pytest.mark.parametrize("server", [controller_itself, nginx, haproxy])
def test_a_crowd_is_queued_while_the_process_does_not_accept(
    controller: Controller, server: Callable[[Controller, ExitStack], tuple[int, int]]
) -> None:
    with ExitStack() as stack:
        port, group = server(controller, stack)
        os.killpg(group, signal.SIGSTOP)
        stack.callback(os.killpg, group, signal.SIGCONT)
        waiting = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.register(client, selectors.EVENT_WRITE)
        # The kernel opens a connection for the process as long as the queue has room, and refuses the rest by silence.
        until(lambda: len(waiting.select(timeout=0)) == CLIENTS, "room for all of them")
