"""Several instances are one service: a terminal lives on whatever becomes of the instances."""

from collections.abc import Iterator

import psycopg
import pytest
import requests

from tests.acceptance.cluster import Cluster
from tests.acceptance.conftest import Lab
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

NUMBERS = 40_000
COUNT_SLOWLY = f"PS1=; stty -echo; clear; for i in $(seq 1 {NUMBERS // 1000}); do seq $((i*1000)) $((i*1000+999)); sleep .05; done\r"
COUNTED = b"".join(b"%d\r\n" % number for number in range(1000, NUMBERS + 1000))


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def shell_pid(terminal: Terminal) -> bytes:
    terminal.type("PS1=; stty -echo; echo pid-$$-\r")
    terminal.expect("pid-")
    until(lambda: b"-\r\n" in terminal.output.split(b"pid-")[-1], "the shell's pid")
    return terminal.output.split(b"pid-")[-1].split(b"-")[0]


def row(cluster: Cluster, terminal: Terminal) -> tuple[str, int, str]:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute(
            "SELECT owner, epoch, state FROM sessions WHERE id = %s", [terminal.info["session_id"]]
        ).fetchone()
    assert found is not None
    return found


def test_a_terminal_is_reached_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    _, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    pid = shell_pid(first)
    first.type(COUNT_SLOWLY)
    first.expect("5000\r\n")
    first.vanish()
    seen = first.output
    again = first.again(b, epoch=1, offset=len(seen)).connected()
    assert again.info == first.info | {"offset": len(seen)}
    again.expect("40999\r\n", 60)
    assert COUNTED in seen + again.output
    assert shell_pid(again) == pid
    assert row(cluster, again)[1] == 1
    again.leave()
