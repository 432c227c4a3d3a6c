"""JWT_SECRET is changed on a running cluster, as docs/security.md says: no log-in and no terminal ends."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.lab import Lab
from tests.acceptance.short_ttl import statuses
from tests.controller import JWT_SECRET, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd

NEW = "another secret of the tests that is long enough"
STEPS = (
    {"JWT_SECRET_ACCEPTED": NEW},
    {"JWT_SECRET": NEW, "JWT_SECRET_ACCEPTED": JWT_SECRET},
)


@pytest.fixture
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


def restart(controller: Controller, settings: dict[str, str]) -> None:
    controller.terminate()
    assert controller.process is not None
    assert controller.process.wait(60) == 0
    controller.environ |= settings
    controller.start()


def test_the_secret_changes_and_everybody_stays_logged_in(cluster: Cluster, sshd: Sshd) -> None:
    lab = cluster.lab(sshd)
    terminal = Lab(lab.api.at(cluster.controllers[0]), lab.device, lab.credential).open(epoch=0, offset=0)
    session_id = terminal.info["session_id"]
    for step in STEPS:
        for controller in cluster.controllers:
            restart(controller, step)
            # What each of the two has signed is good at both, and so are requests between them.
            for each in cluster.controllers:
                lab.api.at(each).get("/api/devices/browse")
            for each in cluster.controllers:
                api = lab.api.at(each)
                answer = api.post("/api/auth/refresh", {"refresh_token": lab.api.refresh_token})
                lab.api.token, lab.api.refresh_token = answer["access_token"], answer["refresh_token"]
            terminal.api.token = lab.api.token
            terminal = come_back(terminal, *cluster.controllers, epoch=terminal.info["epoch"], offset=0)
            assert terminal.info["session_id"] == session_id
            until(lambda: statuses(cluster) == {"healthy"}, "good health of both")
    terminal.type("echo still-$((6*7))\r")
    terminal.expect("still-42")
    # At the end the new secret is enough.
    for controller in cluster.controllers:
        restart(controller, {"JWT_SECRET_ACCEPTED": ""})
    lab.api.at(cluster.controllers[1]).get("/api/devices/browse")
