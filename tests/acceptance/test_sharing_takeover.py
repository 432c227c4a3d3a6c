"""A viewer keeps its socket while its session changes hands: the real client never reconnects (docs/protocol.md, 7)."""

from pathlib import Path

import pytest

from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.sharing import (
    RESTARTING,
    WAITING,
    Viewer,
    claimed,
    goes_on,
    is_served,
    opened,
    share,
    told,
    watching,
)
from tests.certificates import Authority
from tests.controller import Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.mark.parametrize("claimant", [1, 2], ids=["claimed where the viewer is", "claimed elsewhere"])
@pytest.mark.parametrize("query", [{}, {"offset": "tail"}], ids=["real client", "our page"])
def test_a_viewer_outlives_the_owner(
    cluster: Cluster, terminal: Terminal, claimant: int, query: dict[str, str]
) -> None:
    a, b, _ = cluster.controllers
    viewer = Viewer(b, share(terminal, permission="read-write"), **query).joined()
    before = viewer.info
    terminal.type("echo be''fore\r")
    viewer.expect("before")
    a.kill()
    told(viewer, WAITING)
    is_served(viewer)
    viewer.type("echo lo''st\r")
    is_served(viewer)
    again = claimed(terminal, cluster.controllers[claimant])
    goes_on(again, viewer)
    assert {name: viewer.info[name] for name in ("viewer_id", "permission")} == {
        name: before[name] for name in ("viewer_id", "permission")
    }
    assert [each["viewer_id"] for each in watching(again)] == [before["viewer_id"]]
    viewer.type("echo af''ter\r")
    again.expect("after")
    assert b"lost" not in again.output
    viewer.leave()
    until(lambda: watching(again) == [], "the viewer's leaving to be known")


def test_a_viewer_outlives_a_drain_of_the_owner_and_only_that(cluster: Cluster, terminal: Terminal) -> None:
    a, b, c = cluster.controllers
    token = share(terminal)
    viewer, direct = Viewer(b, token).joined(), Viewer(a, token).joined()
    a.terminate()
    told(viewer, WAITING)
    assert direct.closed() == (RESTARTING, "the controller is restarting")
    again = claimed(terminal, c)
    goes_on(again, viewer)
    b.terminate()
    assert viewer.closed() == (RESTARTING, "the controller is restarting")


def test_a_viewer_outlives_the_owner_of_a_cluster_that_speaks_tls(
    postgres: Postgres, sshd: Sshd, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    tls = {"HA_PEER_TLS_CERT": str(cert), "HA_PEER_TLS_KEY": str(key), "HA_PEER_TLS_CA": str(authority.ca)}
    with Cluster(postgres, 3, HA_ADVERTISE_HOST="127.0.0.1", **tls) as cluster:
        a, b, c = cluster.controllers
        terminal = opened(cluster.lab(sshd))
        viewer = Viewer(b, share(terminal, permission="read-write")).joined()
        a.kill()
        told(viewer, WAITING)
        again = claimed(terminal, c)
        goes_on(again, viewer)
        viewer.type("echo ty''ped\r")
        again.expect("typed")


def test_a_share_outlives_the_owner_of_its_session(cluster: Cluster, terminal: Terminal) -> None:
    a, b, _ = cluster.controllers
    token = share(terminal, permission="read-write", max_viewers=1)
    viewer = Viewer(a, token).joined()
    a.kill()
    # Its socket was the dead instance's own. Its page loads anew, and waits for the user: a viewer takes nothing over.
    assert viewer.closed()[0] == 1006
    viewer = Viewer(b, token, viewer=viewer.info["viewer_id"]).joined()
    again = come_back(terminal, b)
    viewer.expect("this is a new shell")
    assert viewer.info["session_id"] == terminal.info["session_id"]
    assert viewer.info["epoch"] == 2
    viewer.type("echo bo''th\r")
    viewer.expect("both")
    again.expect("both")
    again.api = again.api.at(b)
    assert [each["viewer_id"] for each in watching(again)] == [viewer.info["viewer_id"]]
