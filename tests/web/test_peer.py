"""The private listener: its routes and health, for peers with a token for this very instance, and nothing else."""

import os
import signal
import uuid
from collections.abc import Iterator

import psycopg
import pytest
import requests

from netstacks.peer.token import PeerPrincipal, PeerTokens
from tests.acceptance.cluster import Cluster
from tests.controller import JWT_SECRET, until
from tests.postgres import Postgres

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
SESSION = uuid.uuid4()
PATH = f"/peer/sessions/{SESSION}/terminal"
CLAIMS = {"epoch": 1, "visitor": PeerPrincipal("control", "read-write", uuid.uuid4(), "alice", None).claims()}


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def instance(cluster: Cluster) -> str:
    found: str = cluster.controllers[0].health()["instance_id"]
    return found


@pytest.fixture(scope="module")
def peer_url(cluster: Cluster, instance: str) -> str:
    return f"http://{cluster.peer_addresses()[instance]}"


def ask(url: str, token: str, path: str = PATH, **headers: str) -> requests.Response:
    return requests.get(url + path, headers=UPGRADE | {"Authorization": f"Bearer {token}"} | headers, timeout=10)


def test_peer_routes_are_not_on_the_public_listener(cluster: Cluster, instance: str, peer_url: str) -> None:
    token = PeerTokens(JWT_SECRET).issue(instance, PATH, CLAIMS)
    port = peer_url.rpartition(":")[2]
    for headers in ({}, {"Host": f"127.0.0.1:{port}"}, {"X-Forwarded-Port": port}, {"X-Forwarded-Host": f"x:{port}"}):
        assert ask(cluster.controllers[0].url, token, **headers).status_code == 404
    assert requests.post(f"{cluster.controllers[0].url}/peer/sessions/find", timeout=10).status_code == 404


def test_nothing_else_is_on_the_private_listener(peer_url: str) -> None:
    for path in ("/", "/login", "/api/devices", "/api/auth/login", "/static/css/base.css", "/ws/ssh", "/nowhere"):
        assert requests.get(peer_url + path, timeout=10).status_code == 404, path
    for path in ("/health", "/api/v1/health", "/api/v1/health/live"):
        assert requests.get(peer_url + path, timeout=10).status_code == 200, path


def test_only_a_token_for_this_instance_and_request_is_accepted(instance: str, peer_url: str) -> None:
    tokens = PeerTokens(JWT_SECRET)
    wrong = (
        "",
        "nonsense",
        tokens.issue("ctrl-other", PATH, CLAIMS),
        tokens.issue(instance, PATH.replace("terminal", "end"), CLAIMS),
        PeerTokens("another secret that is long enough too").issue(instance, PATH, CLAIMS),
    )
    for token in wrong:
        answer = ask(peer_url, token)
        assert answer.status_code == 403
        assert answer.headers["X-Netstacks-Instance"] == instance


def test_an_instance_without_the_session_says_so_before_the_upgrade(instance: str, peer_url: str) -> None:
    answer = ask(peer_url, PeerTokens(JWT_SECRET).issue(instance, PATH, CLAIMS))
    assert answer.status_code == 409
    assert answer.headers["X-Netstacks-Instance"] == instance


@pytest.mark.parametrize(
    ("path", "said", "member"),
    [
        ("/peer/sessions/find", {"token": "none"}, "token"),
        ("/peer/withdrawals", {"user_id": "\0", "login_ids": None}, "user_id"),
        (PATH.replace("terminal", "end"), {"epoch": 1, "reason": "\0"}, "reason"),
        (PATH.replace("terminal", "viewers/end"), {"epoch": 2**31, "reason": ""}, "epoch"),
    ],
    ids=["find", "withdrawals", "end", "viewers"],
)
def test_malformed_claims_are_told_by_name(
    instance: str, peer_url: str, path: str, said: dict[str, object], member: str
) -> None:
    token = PeerTokens(JWT_SECRET).issue(instance, path, said)
    answer = requests.post(peer_url + path, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"the claims of the peer are malformed: {member}: ")


def test_a_row_that_names_an_instance_wrongly_is_given_up_by_it(cluster: Cluster, instance: str, peer_url: str) -> None:
    with psycopg.connect(cluster.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, owner, epoch,"
            " state, reconnect_hash) SELECT %s, id, username, 'lab', 'localhost', 22, 'xterm', 80, 24, %s, 1, 'active',"
            " %s FROM users LIMIT 1",
            [SESSION, instance, os.urandom(32)],
        )
        assert ask(peer_url, PeerTokens(JWT_SECRET).issue(instance, PATH, CLAIMS)).status_code == 409
        found = connection.execute("SELECT owner, epoch FROM sessions WHERE id = %s", [SESSION]).fetchone()
    assert found == (None, 2)


def test_each_worker_has_a_listener_of_its_own_and_is_lost_alone(postgres: Postgres) -> None:
    with Cluster(postgres, 1, WEB_CONCURRENCY="3") as cluster:
        controller = cluster.controllers[0]
        addresses = cluster.peer_addresses()
        assert len(addresses) == len(set(addresses.values())) == 3
        for instance, address in addresses.items():
            assert requests.get(f"http://{address}/api/v1/health", timeout=10).json()["instance_id"] == instance
        os.kill(controller.worker_pids()[0], signal.SIGKILL)
        until(lambda: len(set(cluster.peer_addresses()) - set(addresses)) == 1, "a new worker under an id of its own")
        until(lambda: len(cluster.peer_addresses()) == 3, "the reaping of the one that was killed")
