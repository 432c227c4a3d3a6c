"""The agent-check listener: one line for each connection, and no client holds it up."""

import contextlib
import errno
import socket
import struct
from dataclasses import replace

import pytest

from netstacks import greenlets
from netstacks.cluster.health import HealthReport, judge
from netstacks.instance.agent_check import AgentCheck
from tests.cluster.test_health import NOW, REFRESH_SECS, WELL
from tests.patched import patched
from tests.ports import free_port
from tests.processes import sockets_and_pipes

CROWD = 300


def busy() -> HealthReport:
    return judge(replace(WELL, cpu_share=0.6), NOW, REFRESH_SECS)


def started(report=busy, *, shared: bool = False, port: int = 0) -> tuple[AgentCheck, tuple[str, int]]:
    address = ("127.0.0.1", port or free_port())
    agent_check = AgentCheck(report)
    agent_check.start(address, shared=shared)
    return agent_check, address


def answer(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=60) as client:
        return client.makefile("rb").read()


@patched
def test_an_answer_is_one_line_and_the_end_of_the_connection() -> None:
    agent_check, address = started()
    assert answer(address) == b"up ready 40%\n"
    assert not agent_check.background.has_died


@patched
def test_an_instance_whose_health_is_not_known_yet_is_down() -> None:
    assert answer(started(lambda: None)[1]) == b"down #starting\n"


@patched
def test_clients_that_are_silent_or_never_read_hold_up_no_other_and_keep_no_descriptor() -> None:
    _, address = started()
    before = sockets_and_pipes()
    silent = [socket.create_connection(address, timeout=60) for _ in range(CROWD)]
    assert answer(address) == b"up ready 40%\n"
    # Those of the clients only: the other end of each is closed.
    assert len(sockets_and_pipes() - before) == CROWD
    assert {client.makefile("rb").read() for client in silent} == {b"up ready 40%\n"}


@patched
def test_clients_that_flood_or_break_off_hold_up_no_other() -> None:
    agent_check, address = started()
    for _ in range(20):
        flooding = socket.create_connection(address, timeout=60)
        with contextlib.suppress(OSError):
            flooding.sendall(b"x" * 1_000_000)
        breaking_off = socket.create_connection(address, timeout=60)
        breaking_off.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        breaking_off.close()
    assert answer(address) == b"up ready 40%\n"
    assert not agent_check.background.has_died


@patched
def test_a_crowd_of_connections_leaves_the_loop_to_others() -> None:
    _, address = started()
    turns = 0

    def turn() -> None:
        nonlocal turns
        while True:
            greenlets.sleep(0)
            turns += 1

    crowd = [socket.create_connection(address, timeout=60) for _ in range(50)]
    greenlets.spawn("other", turn)
    crowd[-1].makefile("rb").read()
    assert turns > len(crowd)


@patched
def test_a_port_is_shared_by_workers_and_else_refused() -> None:
    port = free_port()
    started(shared=True, port=port)
    started(shared=True, port=port)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        started(port=port)
    assert caught.value.errno == errno.EADDRINUSE
