"""Viewers of a session whose owner freezes, or dies with the database."""

import time

from tests.acceptance.cluster import TTL_SECS, Cluster
from tests.acceptance.sharing import (
    COUNT,
    COUNTED,
    NEW_SHELL,
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
from tests.controller import Terminal
from tests.postgres import Postgres
from tests.sshd import Sshd


def test_viewers_outlive_a_frozen_owner_and_its_own_viewer_does_when_it_thaws(
    cluster: Cluster, terminal: Terminal
) -> None:
    a, b, c = cluster.controllers
    token = share(terminal)
    viewer, frozen = Viewer(b, token).joined(), Viewer(a, token).joined()
    a.freeze()
    again = claimed(terminal, c)
    goes_on(again, viewer)
    a.thaw()
    told(frozen, WAITING)
    told(frozen, NEW_SHELL)
    again.type("echo bo''th\r")
    for each in (viewer, frozen):
        each.expect("both")
        assert each.info["epoch"] == 2
    assert len(watching(again)) == 2


def test_an_owner_that_was_frozen_and_was_not_replaced_goes_on_at_the_exact_byte(
    cluster: Cluster, terminal: Terminal
) -> None:
    a, b, _ = cluster.controllers
    token = share(terminal)
    plain, exact = Viewer(b, token).joined(), Viewer(b, token, offset="tail").joined()
    terminal.type(COUNT)
    exact.expect("3000\r\n")
    a.freeze()
    for viewer in (plain, exact):
        told(viewer, WAITING)
    # Shorter than the TTL: the owner is not replaced.
    time.sleep(TTL_SECS / 4)
    a.thaw()
    for viewer in (plain, exact):
        viewer.expect("20999\r\n")
        told(viewer, b"[the session goes on]")
        assert viewer.info["epoch"] == 1
        assert viewer.frames.count(0x08) == 1
    assert COUNTED in exact.output
    assert NEW_SHELL not in plain.output + exact.notices


def test_a_viewer_outlives_an_owner_and_the_database(own_postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(own_postgres, 2) as cluster:
        a, b = cluster.controllers
        terminal = opened(cluster.lab(sshd))
        viewer = Viewer(b, share(terminal)).joined()
        own_postgres.stop()
        a.kill()
        told(viewer, WAITING)
        # Without the database nothing is claimed, and the viewer is neither closed nor told that the session has ended.
        time.sleep(TTL_SECS / 2)
        is_served(viewer)
        own_postgres.start()
        b.started()
        goes_on(claimed(terminal, b), viewer)
