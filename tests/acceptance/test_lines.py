"""A device with few terminals: a session that no client is attached to makes room, whichever instance it is at."""

from collections.abc import Iterator

import psycopg
import pytest
import requests

from netstacks.peer.token import PeerTokens
from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.controller import JWT_SECRET, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


def state(cluster: Cluster, terminal: Terminal) -> str:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute("SELECT state FROM sessions WHERE id = %s", [terminal.info["session_id"]]).fetchone()
    assert found is not None
    return str(found[0])


def test_a_detached_session_at_another_instance_is_ended_and_an_attached_one_is_not(
    cluster: Cluster, sshd: Sshd
) -> None:
    lab = cluster.lab(sshd)
    lab.api.call("PUT", f"/api/devices/{lab.device['id']}", json={"lines": 1})
    colleague = Lab(lab.api.at(cluster.controllers[1]), lab.device, lab.credential)
    first = lab.open()
    second = colleague.open()
    assert (state(cluster, first), state(cluster, second)) == ("active", "active")
    first.vanish()
    until(lambda: state(cluster, first) == "detached", "a session without a client")
    colleague.open()
    until(lambda: state(cluster, first) == "ended", "the end of the detached session")
    assert state(cluster, second) == "active"


def test_an_owner_whose_client_has_come_back_does_not_end_its_session(cluster: Cluster, sshd: Sshd) -> None:
    terminal = cluster.lab(sshd).open()
    owner = cluster.controllers[0].health()["instance_id"]
    path = f"/peer/sessions/{terminal.info['session_id']}/end-detached"
    token = PeerTokens(JWT_SECRET).issue(owner, path, {"epoch": 1, "reason": "a colleague needs the line"})
    url = f"http://{cluster.peer_addresses()[owner]}{path}"
    assert requests.post(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code == 204
    terminal.type("echo go''es on\r")
    terminal.expect("goes on")
