"""A share is good through every instance: its viewers are served, counted and ended wherever they come in."""

from collections.abc import Iterator

import pytest

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import (
    COUNT,
    COUNTED,
    REFUSED,
    Viewer,
    opened,
    share,
    shares_path,
    watching,
)
from tests.controller import Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    """A quiet terminal on the first instance."""
    terminal = opened(lab)
    yield terminal
    terminal.leave()


def test_a_viewer_through_another_instance_sees_the_same_bytes_and_types(cluster: Cluster, terminal: Terminal) -> None:
    a, b = cluster.controllers
    token = share(terminal, permission="read-write")
    here, there = Viewer(a, token).joined(), Viewer(b, token).joined()
    there.type(COUNT)
    for each in (terminal, here, there):
        each.expect("20999\r\n")
        assert COUNTED in each.output
    assert {each["viewer_id"] for each in watching(terminal)} == {here.info["viewer_id"], there.info["viewer_id"]}
    assert watching(terminal.again(b).connected()) == watching(terminal)


def test_viewers_are_counted_over_all_instances(cluster: Cluster, terminal: Terminal) -> None:
    a, b = cluster.controllers
    token = share(terminal, max_viewers=2)
    Viewer(a, token).joined()
    Viewer(b, token).joined()
    for instance in (a, b):
        refused = Viewer(instance, token)
        assert refused.closed()[0] == REFUSED
        assert "viewer limit" in refused.errors[0]


@pytest.mark.parametrize("question", [{"viewer": "x"}, {"offset": "x"}])
def test_a_wrong_question_is_told_through_any_instance(
    cluster: Cluster, terminal: Terminal, question: dict[str, str]
) -> None:
    token = share(terminal)
    for instance in cluster.controllers:
        refused = Viewer(instance, token, **question)
        assert refused.closed()[0] == REFUSED
        assert f"{next(iter(question))}='x': it must be a" in refused.errors[0]


def test_a_share_is_revoked_through_any_instance(cluster: Cluster, terminal: Terminal) -> None:
    a, b = cluster.controllers
    token = share(terminal)
    views = [Viewer(a, token).joined(), Viewer(b, token).joined()]
    terminal.api.at(b).call("DELETE", f"{shares_path(terminal)}/{token}", expect=204)
    for view in views:
        assert view.closed()[0] == REFUSED
        assert "revoked" in view.errors[0]
    assert Viewer(b, token).closed()[0] == REFUSED
    terminal.type("echo on''ward\r")
    terminal.expect("onward")


def test_without_postgresql_a_link_opens_through_every_instance(own_postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(own_postgres, 2) as cluster:
        terminal = cluster.lab(sshd).open()
        token = share(terminal, permission="read-write")
        until(lambda: cluster.keys(f"netstacks:session:{terminal.info['session_id']}"), "the session in Valkey")
        own_postgres.stop()
        views = [Viewer(instance, token).joined() for instance in cluster.controllers]
        views[1].type("echo with$((1+1))\r")
        for each in (terminal, *views):
            each.expect("with2")
