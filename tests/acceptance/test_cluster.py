"""Several instances are one service: a terminal is reached, ended and looked up through any of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.shells import COUNT, COUNTED, shell_pid
from tests.acceptance.stored import row
from tests.certificates import Authority
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


def test_a_terminal_is_reached_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    _, b, _ = cluster.controllers
    first = lab.open(epoch=0, offset=0)
    pid = shell_pid(first)
    first.type(COUNT)
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


def test_a_session_is_ended_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    lab.api.at(cluster.controllers[1]).call("DELETE", f"/api/sessions/{terminal.info['session_id']}", expect=204)
    assert terminal.closed()[0] == 4001
    assert "ended by admin" in terminal.errors[0]
    until(lambda: row(cluster, terminal)[2] == "ended", "the row's end")


def test_an_ended_session_is_told_so_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("exit\r")
    assert terminal.closed()[0] == 4001
    until(lambda: row(cluster, terminal)[2] == "ended", "the row's end")
    again = terminal.again(cluster.controllers[1], epoch=1, offset=len(terminal.output))
    assert again.closed()[0] == 4001
    assert "ended" in again.errors[0]


def test_a_question_about_a_host_key_is_seen_and_answered_through_any_instance(cluster: Cluster, lab: Lab) -> None:
    at_b = lab.api.at(cluster.controllers[1])
    with Sshd() as stranger:
        device = lab.api.add_device(stranger.host, stranger.port, name="stranger")
        credential = lab.api.add_credential(stranger.user, stranger.private_key, "ssh_key", name="stranger")
        terminal = lab.api.open(device, credential)
        prompt = until(lambda: at_b.get("/api/host-keys/prompts")["prompts"], "the prompt")[0]
        at_b.post(f"/api/host-keys/prompts/{prompt['id']}/approve")
        terminal.connected().leave()


def test_peers_use_tls_and_refuse_a_peer_without_a_certificate(postgres: Postgres, sshd: Sshd, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    tls = {"HA_PEER_TLS_CERT": str(cert), "HA_PEER_TLS_KEY": str(key), "HA_PEER_TLS_CA": str(authority.ca)}
    with Cluster(postgres, 2, **tls) as cluster:
        first = cluster.lab(sshd).open(epoch=0, offset=0)
        first.vanish()
        relayed = first.again(cluster.controllers[1], epoch=1, offset=0).connected()
        relayed.type(COUNT)
        relayed.expect("40999\r\n", 60)
        assert COUNTED in relayed.output
        relayed.type("exit\r")
        assert relayed.closed()[0] == 4001
        for address in cluster.peer_addresses().values():
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://{address}/health", timeout=60)
            with pytest.raises(requests.ConnectionError):
                requests.get(f"https://{address}/health", verify=str(authority.ca), timeout=60)
            shown = requests.get(f"https://{address}/health", verify=str(authority.ca), cert=(cert, key), timeout=60)
            assert shown.status_code == 200
