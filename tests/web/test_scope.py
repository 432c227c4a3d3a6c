"""A role for some devices: each way to a device, to one within the scope and to one outside it."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netstacks.errors import AccessWithdrawn, DeviceError, NotFound
from netstacks.instance import targets
from netstacks.instance.targets import ConnectRequest
from netstacks.permissions import Reach, Role
from netstacks.store import access, credentials, definitions, devices, roles
from netstacks.store.audit import Actor
from netstacks.store.credentials import Secrets
from netstacks.store.definitions import Definition
from netstacks.store.devices import Device
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.context import Services
from netstacks.web.jumpbox.commands import Commands, Connect, Say
from netstacks.web.jumpbox.completion import Completion
from tests.web.conftest import Api

SCOPE = Reach(frozenset({"core"}), frozenset({"Bonn"}))
MAY = frozenset({"devices.*", "sessions.connect"})


@dataclass
class World:
    """Two devices within the scope and one outside, each with a session definition; and a user of the role."""

    api: Api
    actor: Actor
    services: Services
    database: Database
    devices: dict[str, Device]
    definitions: dict[str, Definition]

    def commands(self) -> Commands:
        return Commands(self.database, self.actor)


@pytest.fixture
def world(services: Services, database: Database, add_user: Callable[..., User], log_in: Callable[..., Api]) -> World:
    with database.transaction() as tx:
        roles.create(tx, Role("core", MAY, SCOPE), description="", by="a test")
        found = {
            "tagged": devices.create(tx, name="in-tagged", host="192.0.2.1", tags=["lab", "core"]),
            "sited": devices.create(tx, name="in-sited", host="192.0.2.2", site="Bonn"),
            "outside": devices.create(tx, name="out-1", host="192.0.2.3", tags=["edge"], site="Berlin"),
        }
    user = add_user("lee", role="core")
    with database.transaction() as tx:
        named = {
            key: definitions.create(tx, name=f"def-{key}", host=each.host, created_by=user.id)
            for key, each in found.items()
        }
        credentials.create(
            tx, services.vault, Secrets("a password"), name="mine", credential_type="ssh_password", owner_id=user.id,
            username="ops",
        )  # fmt: skip

    def refuse(_: ConnectRequest) -> Any:
        raise DeviceError("the device was dialled")

    services.opener = cast(Any, SimpleNamespace(open=refuse))
    services.agent = cast(Any, SimpleNamespace(me=SimpleNamespace(state="active", id="here"), differing_secrets=[]))
    return World(log_in("lee"), Actor("lee", user.id), services, database, found, named)


def is_ok(status_code: int) -> bool:
    assert status_code in (200, 201, 204, 302, 404), status_code
    return status_code != 404


def names(world: World, path: str) -> list[str]:
    return [each["name"] for each in world.api.get(path).json["items"]]


def resolves(world: World, target: str | None = None, host: str | None = None) -> bool:
    request = ConnectRequest(world.actor, None, target, host, None, term="xterm", cols=80, rows=24)
    try:
        with world.database.transaction() as tx:
            role = access.confirm(tx, world.actor, "sessions.connect")
            targets.resolve(tx, request, within=role.reach, may_ad_hoc=True)
    except NotFound:
        return False
    return True


def runs(answer: Any) -> bool:
    assert answer.json["success"] is False
    return "the device was dialled" in answer.json["error"]


def ai(world: World, target: str) -> bool:
    return runs(
        world.api.post("/api/ai/ssh-execute", json={"session_definition_id": target, "command": "show version"})
    )


def jump_box_connects(world: World, text: str) -> bool:
    try:
        return isinstance(world.commands().run(f"connect {text}"), Connect)
    except NotFound:
        return False


def jump_box_lists(world: World, name: str) -> bool:
    action = world.commands().run(f"devices {name}")
    assert isinstance(action, Say)
    return any(line.startswith(name) for line in action.lines)


def completes(world: World, name: str) -> bool:
    line, _ = Completion(world.database, world.actor, lambda: None).complete(f"connect {name[:-1]}")
    return name in line


WAYS: dict[str, Callable[[World, Device, Definition], bool]] = {
    "the client's list": lambda w, d, _: d.name in names(w, "/api/devices/browse"),
    "the list of pages": lambda w, d, _: d.name in w.api.get("/api/v1/devices").text,
    "the export": lambda w, d, _: d.name in w.api.get("/api/v1/devices/export").text,
    "one device": lambda w, d, _: is_ok(w.api.get(f"/api/devices/{d.id}").status_code),
    "change a device": lambda w, d, _: is_ok(w.api.put(f"/api/devices/{d.id}", json={"description": "x"}).status_code),
    "delete a device": lambda w, d, _: is_ok(w.api.delete(f"/api/devices/{d.id}").status_code),
    "the list of definitions": lambda w, d, f: f.name in names(w, "/api/session-definitions"),
    "devices among the definitions": lambda w, d, _: d.name in names(w, "/api/session-definitions"),
    "one definition": lambda w, _, f: is_ok(w.api.get(f"/api/session-definitions/{f.id}").status_code),
    "a device as a definition": lambda w, d, _: is_ok(w.api.get(f"/api/session-definitions/device-{d.id}").status_code),
    "a definition in a folder": lambda w, _, f: is_ok(
        w.api.put(f"/api/session-definitions/{f.id}/folder", json={"folder_id": None}).status_code
    ),
    "change a definition": lambda w, _, f: is_ok(
        w.api.put(f"/api/session-definitions/{f.id}", json={"description": "x"}).status_code
    ),
    "delete a definition": lambda w, _, f: is_ok(w.api.delete(f"/api/session-definitions/{f.id}").status_code),
    "the page of a new terminal": lambda w, d, _: is_ok(w.api.get(f"/terminals/new?device={d.id}").status_code),
    "a terminal by device": lambda w, d, _: resolves(w, f"device-{d.id}"),
    "a terminal by definition": lambda w, _, f: resolves(w, str(f.id)),
    "a terminal by address": lambda w, d, _: resolves(w, host=d.host),
    "a command for a test": lambda w, d, _: runs(
        w.api.post(f"/api/devices/{d.id}/exec-command", json={"command": "show version"})
    ),
    "commands for AI by device": lambda w, d, _: ai(w, f"device-{d.id}"),
    "commands for AI by definition": lambda w, _, f: ai(w, str(f.id)),
    "the jump box's list": lambda w, d, _: jump_box_lists(w, d.name),
    "the jump box by name": lambda w, d, _: jump_box_connects(w, d.name),
    "the jump box by address": lambda w, d, _: jump_box_connects(w, d.host),
    "the jump box by address and port": lambda w, d, _: jump_box_connects(w, f"{d.host}:22"),
    "the jump box's completion": lambda w, d, _: completes(w, d.name),
}


@pytest.mark.parametrize(("which", "is_within"), [("tagged", True), ("sited", True), ("outside", False)])
@pytest.mark.parametrize("way", WAYS)
def test_a_way_leads_to_the_devices_of_the_scope_only(world: World, way: str, which: str, is_within: bool) -> None:
    assert WAYS[way](world, world.devices[which], world.definitions[which]) is is_within


def test_an_address_outside_the_device_list_is_refused(world: World) -> None:
    assert not resolves(world, host="198.51.100.9")
    assert not jump_box_connects(world, "198.51.100.9:22")


def test_a_device_is_neither_created_outside_the_scope_nor_moved_there(world: World) -> None:
    new = {"name": "r9", "host": "192.0.2.9"}
    api = world.api
    refused = [
        api.post("/api/devices", json=new),
        api.post("/api/devices", json=new | {"site": "Berlin", "tags": ["edge"]}),
        api.put(f"/api/devices/{world.devices['sited'].id}", json={"site": "Berlin"}),
        api.put(f"/api/devices/{world.devices['tagged'].id}", json={"tags": []}),
        api.post("/api/session-definitions", json={"name": "d", "host": "192.0.2.3"}),
        api.put(f"/api/session-definitions/{world.definitions['sited'].id}", json={"host": "192.0.2.3"}),
    ]
    assert [each.status_code for each in refused] == [422] * 6
    assert "one of the tags of your role" in refused[0].json["error"]
    assert api.post("/api/devices", json=new | {"site": "Bonn"}).status_code == 201
    assert names(world, "/api/devices/browse") == ["in-sited", "in-tagged", "r9"]


def test_the_total_does_not_tell_how_many_other_devices_there_are(world: World) -> None:
    assert world.api.get("/api/devices/browse?limit=1").json["total"] == 2
    assert world.api.get("/api/session-definitions").json["total"] == 4


def test_of_two_entries_at_an_address_the_one_of_the_scope_is_dialled(world: World) -> None:
    with world.database.transaction() as tx:
        within = devices.create(tx, name="in-later", host="192.0.2.3", tags=["core"])
        request = ConnectRequest(world.actor, None, None, "192.0.2.3", None, term="xterm", cols=80, rows=24)
        assert targets.resolve(tx, request, within=SCOPE).device_id == within.id


def test_a_session_whose_device_has_left_the_scope_is_not_resumed(world: World) -> None:
    with world.database.transaction() as tx:
        targets.check_reach(tx, SCOPE, world.devices["sited"].id)
        for device_id in (world.devices["outside"].id, uuid4(), None):
            with pytest.raises(AccessWithdrawn):
                targets.check_reach(tx, SCOPE, device_id)
            targets.check_reach(tx, Reach(), device_id)


texts = st.lists(st.sampled_from(["core", "edge", "Bonn", "", "CORE"]), max_size=3, unique=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, texts, texts, st.none() | st.sampled_from(["Bonn", "core", "bonn", ""]))
def test_the_database_and_the_program_agree_on_the_scope(
    database: Database, tags: list[str], sites: list[str], of_device: list[str], site: str | None
) -> None:
    reach = Reach(frozenset(tags), frozenset(sites))
    with database.transaction() as tx:
        device = devices.create(tx, name="r", host="192.0.2.1", site=site, tags=[tag for tag in of_device if tag])
        assert (devices.find(tx, device.id, within=reach) is not None) == reach.includes(device.tags, device.site)
        assert (device.id in {each.id for each in devices.list_page(tx, within=reach)[0]}) == reach.includes(
            device.tags, device.site
        )
        devices.delete(tx, device)
