"""Access that is withdrawn through one instance has ended on another one when the withdrawal is answered."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.sharing import REFUSED, Viewer, share, shares_path, watching
from tests.controller import Api, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

PASSWORD = "a password of theirs"
WITHDRAWN = "access was withdrawn"
WAYS: dict[str, Callable[[Api, str], Any]] = {
    "deactivated": lambda admin, id: _put(admin, id, role="operator", is_active=False),
    "deleted": lambda admin, id: admin.call("DELETE", f"/api/users/{id}", expect=204),
    "demoted": lambda admin, id: _put(admin, id, role="viewer", is_active=True),
    "given a new password": lambda admin, id: admin.call(
        "PUT", f"/api/users/{id}/password", json={"password": "another password"}, expect=204
    ),
    "logged out": lambda admin, id: admin.call("DELETE", f"/api/users/{id}/logins", expect=204),
}


def _put(admin: Api, user_id: str, **profile: Any) -> Any:
    return admin.call("PUT", f"/api/users/{user_id}", json=profile, expect=200)


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    """The administrator on the first instance, with a credential that all users may use."""
    lab = cluster.lab(sshd)
    shared = lab.api.add_credential(sshd.user, sshd.private_key, "ssh_key", is_shared=True)
    return Lab(lab.api, lab.device, shared)


@pytest.fixture(scope="module")
def silent_device(lab: Lab) -> Iterator[Any]:
    """A device that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield lab.api.add_device("127.0.0.1", listener.getsockname()[1])


class Person:
    """A user of a test, logged in at the second instance."""

    _count = 0

    def __init__(self, cluster: Cluster, lab: Lab, role: str = "operator") -> None:
        Person._count += 1
        self.name = f"lee-{Person._count}"
        self.id = lab.api.post("/api/users", {"username": self.name, "password": PASSWORD, "role": role})["id"]
        self.lab = Lab(cluster.controllers[1].login(self.name, PASSWORD), lab.device, lab.credential)


def has_ended(terminal: Terminal) -> None:
    assert terminal.closed()[0] == 4001
    assert WITHDRAWN in terminal.errors[-1]


@pytest.mark.parametrize("way", WAYS)
def test_a_terminal_and_an_opening_end_and_no_other_is_opened(
    cluster: Cluster, lab: Lab, silent_device: Any, way: str
) -> None:
    lee = Person(cluster, lab)
    terminal = lee.lab.open(epoch=0, offset=0)
    terminal.type("echo al''ive\r")
    terminal.expect("alive")
    opening = lee.lab.api.open(silent_device, lab.credential, epoch=0, offset=0)
    own = lab.open()

    WAYS[way](lab.api, lee.id)
    assert lab.api.get("/api/sessions?state=live")["items"][0]["username"] != lee.name
    has_ended(terminal)
    has_ended(opening)
    with pytest.raises(Exception, match=r"401|403"):
        lee.lab.api.open(lab.device, lab.credential, epoch=0, offset=0).connected()
    own.type("echo un''touched\r")
    own.expect("untouched")
    own.leave()


@pytest.mark.parametrize("through", [0, 1], ids=["the owner", "another instance"])
def test_a_revoked_guest_types_nothing_after_the_revocation_is_answered(
    cluster: Cluster, lab: Lab, through: int
) -> None:
    terminal = lab.open()
    terminal.type("PS1=; echo re''ady\r")
    terminal.expect("ready")
    guest = Viewer(cluster.controllers[1], share(terminal, permission="read-write")).joined()
    until(lambda: watching(terminal), "the guest")
    lab.at(cluster.controllers[through]).api.call("DELETE", shares_path(terminal), expect=204)
    with contextlib.suppress(ConnectionClosed):
        guest.type("echo typed-by-the-gu''est\r")
    assert watching(terminal) == []
    assert guest.closed()[0] == REFUSED
    terminal.type("echo typed-by-the-own''er\r")
    terminal.expect("typed-by-the-owner")
    assert b"typed-by-the-guest" not in terminal.output
    terminal.leave()


def test_a_view_is_ended_through_another_instance(cluster: Cluster, lab: Lab) -> None:
    terminal = lab.open()
    guest = Viewer(cluster.controllers[0], share(terminal)).joined()
    viewer_id = until(lambda: watching(terminal), "the guest")[0]["viewer_id"]
    path = f"/api/sessions/{terminal.info['session_id']}/viewers/{viewer_id}"
    lab.at(cluster.controllers[1]).api.call("DELETE", path, expect=204)
    assert watching(terminal) == []
    assert guest.closed()[0] == REFUSED
    terminal.leave()


def test_a_logged_in_viewer_is_closed_when_access_is_withdrawn(cluster: Cluster, lab: Lab) -> None:
    terminal, lee = lab.open(), Person(cluster, lab, "viewer")
    view = Viewer(cluster.controllers[1], share(terminal), api=lee.lab.api).joined()
    until(lambda: watching(terminal), "the colleague")
    WAYS["deactivated"](lab.api, lee.id)
    assert watching(terminal) == []
    assert view.closed() == (REFUSED, WITHDRAWN)
    terminal.leave()


def test_a_log_out_closes_the_terminals_of_that_log_in_on_every_instance_and_keeps_the_session(
    cluster: Cluster, lab: Lab
) -> None:
    lee = Person(cluster, lab)
    there = lee.lab.at(cluster.controllers[0]).open(epoch=0, offset=0)
    other = Lab(cluster.controllers[0].login(lee.name, PASSWORD), lab.device, lab.credential).open(epoch=0, offset=0)
    lee.lab.api.call("POST", "/api/auth/logout", expect=200)
    assert there.closed()[0] == REFUSED
    with pytest.raises(Exception, match=r"401|403"):
        lee.lab.at(cluster.controllers[0]).open(epoch=0, offset=0)
    other.type("echo un''touched\r")
    other.expect("untouched")
    sessions = other.api.get("/api/sessions?state=live")["items"]
    assert {each["id"] for each in sessions} >= {there.info["session_id"], other.info["session_id"]}
    other.leave()


def test_a_demoted_administrator_has_no_way_back_through_another_instance(cluster: Cluster, lab: Lab) -> None:
    lee = Person(cluster, lab, "admin")
    assert lee.lab.api.get("/api/users")
    _put(lab.api, lee.id, role="operator", is_active=True)
    lee.lab.api.call("PUT", f"/api/users/{lee.id}", json={"role": "admin", "is_active": True}, expect=403)
    new = {"username": "made-by-lee", "password": "a password of theirs", "role": "admin"}
    lee.lab.api.call("POST", "/api/users", json=new, expect=403)
