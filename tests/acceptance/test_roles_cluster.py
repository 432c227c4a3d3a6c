"""A role that is changed through one instance, and the terminals of its users on another one."""

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.cluster import Cluster
from tests.acceptance.ha import lost
from tests.acceptance.lab import Lab
from tests.acceptance.test_withdrawal_cluster import PASSWORD, Person
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd

ROLES = "/api/v1/roles"


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    """The administrator on the first instance, with a credential that all users may use."""
    return in_core(cluster.lab(sshd), sshd)


def in_core(lab: Lab, sshd: Sshd) -> Lab:
    """The device with a tag, and the credential that is its default: users of a role with a scope may use it there."""
    shared = lab.api.add_credential(sshd.user, sshd.private_key, "ssh_key", is_shared=True)
    change = {"tags": ["core"], "default_credential_id": shared["id"]}
    lab.api.call("PUT", f"/api/devices/{lab.device['id']}", json=change, expect=200)
    return Lab(lab.api, lab.device, shared)


def add_role(lab: Lab, name: str, *permissions: str, tags: tuple[str, ...] = ()) -> Any:
    return lab.api.post(ROLES, {"name": name, "permissions": list(permissions), "device_tags": list(tags)})


def change_role(lab: Lab, name: str, **change: Any) -> None:
    stored = lab.api.get(f"{ROLES}/{name}")
    lab.api.call("PUT", f"{ROLES}/{name}", json=stored | change, expect=200)


def refused(person: Person) -> None:
    with pytest.raises(Exception, match=r"401|403"):
        person.lab.api.open(person.lab.device, person.lab.credential, epoch=0, offset=0).connected()


@pytest.mark.parametrize(
    "change",
    [{"permissions": ["devices.access"]}, {"device_tags": ["edge"]}],
    ids=["without the permission", "for other devices"],
)
def test_a_changed_role_ends_terminals_on_another_instance(cluster: Cluster, lab: Lab, change: dict[str, Any]) -> None:
    name = f"noc-{'-'.join(change)}".replace("_", "-")
    add_role(lab, name, "sessions.connect", "devices.access")
    ana = Person(cluster, lab, name)
    terminal = ana.lab.open(epoch=0, offset=0)
    terminal.type("echo al''ive\r")
    terminal.expect("alive")
    own = lab.open()

    change_role(lab, name, description="a change that takes nothing")
    terminal.type("echo still al''ive\r")
    terminal.expect("still alive")

    change_role(lab, name, **change)
    assert terminal.closed()[0] == 4001
    until(lambda: not ana.lab.api.get("/api/sessions?state=live")["items"], "the end of the session")
    if "device_tags" in change:
        assert ana.lab.api.get("/api/devices/browse")["items"] == []
        with pytest.raises(AssertionError):
            ana.lab.open(epoch=0, offset=0)
    else:
        refused(ana)
    own.type("echo un''touched\r")
    own.expect("untouched")
    own.leave()


def test_a_device_that_leaves_the_scope_takes_its_terminals_along(cluster: Cluster, lab: Lab) -> None:
    add_role(lab, "core-only", "sessions.connect", "devices.access", tags=("core",))
    ana = Person(cluster, lab, "core-only")
    terminal = ana.lab.open(epoch=0, offset=0)
    terminal.type("echo al''ive\r")
    terminal.expect("alive")
    path = f"/api/devices/{lab.device['id']}"
    lab.api.call("PUT", path, json={"tags": ["edge"]}, expect=200)
    assert terminal.closed()[0] == 4001
    assert "may not use this device any more" in terminal.errors[-1]
    lab.api.call("PUT", path, json={"tags": ["core"]}, expect=200)
    again = ana.lab.open(epoch=0, offset=0)
    again.type("echo ba''ck\r")
    again.expect("back")
    again.leave()


def _again(terminal: Terminal, via: Controller) -> Terminal | None:
    """The client that has reconnected; None while the instance answers 503, which both clients retry."""
    try:
        return terminal.again(via)
    except InvalidStatus:
        return None


def test_a_session_of_a_dead_instance_is_not_taken_over_for_a_user_without_its_device(
    postgres: Postgres, sshd: Sshd
) -> None:
    with Cluster(postgres, 2) as cluster:
        lab = in_core(cluster.lab(sshd), sshd)
        add_role(lab, "core-only", "sessions.connect", "devices.access", tags=("core",))
        lab.api.post("/api/users", {"username": "ana", "password": PASSWORD, "role": "core-only"})
        ana = Lab(cluster.controllers[1].login("ana", PASSWORD), lab.device, lab.credential)
        terminal = ana.open(epoch=0, offset=0)
        terminal.type("echo al''ive\r")
        terminal.expect("alive")
        killed = cluster.controllers[1].health()["instance_id"]
        cluster.controllers[1].kill()
        lab.api.call("PUT", f"/api/devices/{lab.device['id']}", json={"tags": ["edge"]}, expect=200)
        # Before its death is proven, the client may be told to come again later.
        until(lambda: killed in lost(lab.api), "the lost instance", 60)
        back = until(lambda: _again(terminal, cluster.controllers[0]), "an answer")
        assert back.closed()[0] == 4001
        assert "may not use this device any more" in back.errors[-1]
