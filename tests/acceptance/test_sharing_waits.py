"""Viewers that wait for an owner: they join and are ended meanwhile, are many, and read slowly."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.sharing import (
    ENDED,
    REFUSED,
    RESTARTING,
    WAITING,
    Viewer,
    claimed,
    goes_on,
    share,
    shares_path,
    told,
    watching,
)
from tests.controller import Controller, Terminal


def test_a_viewer_that_waits_at_a_draining_instance_is_closed(cluster: Cluster, terminal: Terminal) -> None:
    a, b, _ = cluster.controllers
    viewer = Viewer(b, share(terminal)).joined()
    a.kill()
    told(viewer, WAITING)
    b.terminate()
    assert viewer.closed() == (RESTARTING, "the controller is restarting")


def test_a_share_that_is_revoked_while_its_viewers_wait_ends_them(cluster: Cluster, terminal: Terminal) -> None:
    a, b, c = cluster.controllers
    token, other = share(terminal), share(terminal)
    viewer, spared = Viewer(b, token).joined(), Viewer(b, other).joined()
    a.kill()
    told(viewer, WAITING)
    terminal.api.at(c).call("DELETE", f"{shares_path(terminal)}/{token}", expect=202)
    assert viewer.closed()[0] == REFUSED
    assert "revoked" in viewer.errors[0]
    goes_on(claimed(terminal, c), spared)


def test_a_session_that_ends_while_its_viewers_wait_is_told_them(cluster: Cluster, terminal: Terminal) -> None:
    a, b, c = cluster.controllers
    viewer = Viewer(b, share(terminal)).joined()
    a.kill()
    told(viewer, WAITING)
    terminal.api.at(c).call("DELETE", f"/api/sessions/{terminal.info['session_id']}", expect=204)
    assert viewer.closed()[0] == ENDED
    assert "ended" in viewer.errors[0]


def test_a_viewer_that_joins_while_there_is_no_owner_waits_and_takes_no_others_place(
    cluster: Cluster, terminal: Terminal
) -> None:
    a, b, c = cluster.controllers
    full, free = share(terminal, max_viewers=1), share(terminal)
    viewer = Viewer(b, full).joined()
    a.kill()
    told(viewer, WAITING)
    late, page = Viewer(c, full).joined(), Viewer(c, free, offset="tail")
    assert late.info["permission"] == "read-only"
    for each in (late, page):
        told(each, WAITING)
    again = claimed(terminal, c)
    goes_on(again, viewer, page)
    assert late.closed()[0] == REFUSED
    assert "viewer limit" in late.errors[0]


def test_a_crowd_of_viewers_outlives_the_owner(cluster: Cluster, terminal: Terminal) -> None:
    a, b, c = cluster.controllers
    token = share(terminal, max_viewers=50)
    viewers = [Viewer((b, c)[number % 2], token).joined() for number in range(50)]
    ids = {each.info["viewer_id"] for each in viewers}
    a.kill()
    for viewer in viewers:
        told(viewer, WAITING)
    again = claimed(terminal, c)
    goes_on(again, *viewers)
    assert {each["viewer_id"] for each in watching(again)} == ids == {each.info["viewer_id"] for each in viewers}
    assert Viewer(b, token).closed()[0] == REFUSED


class SlowViewer(Viewer):
    """Reads nothing while it is stopped."""

    def __init__(self, *given: Any, **query: str) -> None:
        self.reads = threading.Event()
        self.reads.set()
        super().__init__(*given, **query)

    def _take(self, kind: int, payload: bytes) -> None:
        self.reads.wait()
        super()._take(kind, payload)


# What an instance holds in memory grows by more while others keep it from its work.
@pytest.mark.alone
def test_a_viewer_that_reads_slowly_delays_no_other_and_outlives_the_owner(
    cluster: Cluster, terminal: Terminal
) -> None:
    a, b, c = cluster.controllers
    token = share(terminal)
    slow, quick = SlowViewer(b, token, offset="tail"), Viewer(b, token, offset="tail")
    slow.joined()
    quick.joined()
    slow.reads.clear()
    before = memory_bytes(b)
    terminal.type("seq 1 1500000; echo fi''rst\r")
    terminal.expect("first", timeout_secs=100)
    quick.expect("first")
    assert memory_bytes(b) - before < 16 * 1024 * 1024
    slow.reads.set()
    slow.expect("first")
    assert b"bytes left out here" in slow.notices
    slow.reads.clear()
    terminal.type("seq 1 300000; echo sec''ond\r")
    terminal.expect("second")
    a.kill()
    again = claimed(terminal, c)
    slow.reads.set()
    goes_on(again, slow)


def memory_bytes(controller: Controller) -> int:
    """The memory of its worker."""
    (pid,) = controller.worker_pids()
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
