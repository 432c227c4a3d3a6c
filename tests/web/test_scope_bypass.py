"""What a role for some devices must not reach: other devices by entries of its own, shared secrets, and host keys."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from netstacks.errors import InvalidInput, NotFound
from netstacks.instance import targets
from netstacks.instance.targets import ConnectRequest
from netstacks.permissions import Reach, Role
from netstacks.store import access, credentials, definitions, device_contacts, devices, hostkeys, prompts, roles
from netstacks.store.audit import Actor
from netstacks.store.credentials import Credential, Secrets
from netstacks.store.device_contacts import Opening
from netstacks.store.devices import Device
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.context import Services
from netstacks.web.jumpbox.commands import Commands, Connect
from tests.web.conftest import Api

MAY = frozenset({"devices.*", "sessions.connect", "credentials.manage", "hostkeys.manage"})
OUTSIDE, FREE = "192.0.2.3", "203.0.113.66"


@dataclass
class World:
    """A device within the scope, one outside it, and shared credentials: for one of them, for no address, for another.

    `core` is the default of the device outside, `branch` of the one within, neither of them with an address.
    """

    api: Api
    actor: Actor
    services: Services
    database: Database
    within: Device
    outside: Device
    shared: dict[str, Credential]

    def would_send(self, credential: str | None, device_id: str | UUID) -> str | None:
        """The password that a terminal to the device would send, None when it would be refused."""
        chosen = self.shared[credential].id if credential else None
        target = f"device-{device_id}"
        request = ConnectRequest(self.actor, chosen, target, None, None, term="xterm", cols=80, rows=24)
        with self.database.transaction() as tx:
            reach = access.confirm(tx, self.actor, "sessions.connect").reach
            found = targets.resolve(tx, request, within=reach)
            try:
                return targets.secret_for(tx, self.services.vault, request, found, within=reach)[1].password
            except (InvalidInput, NotFound):
                return None


@pytest.fixture
def world(services: Services, database: Database, add_user: Callable[..., User], log_in: Callable[..., Api]) -> World:
    def shared(name: str, host: str | None = None) -> Credential:
        secrets, kind = Secrets(f"password of {name}"), "ssh_password"
        return credentials.create(
            tx, services.vault, secrets, name=name, credential_type=kind, username="ops", host=host
        )

    with database.transaction() as tx:
        roles.create(tx, Role("branch", MAY, Reach(frozenset({"branch"}))), description="", by="a test")
        kept = {"core": shared("core"), "branch": shared("branch"), "here": shared("here", "192.0.2.1")}
        kept |= {"there": shared("there", OUTSIDE), "spare": shared("spare")}
        within = devices.create(
            tx, name="in", host="192.0.2.1", tags=["branch"], default_credential_id=kept["branch"].id
        )
        outside = devices.create(
            tx, name="out-secret", host=OUTSIDE, tags=["edge"], default_credential_id=kept["core"].id
        )
    user = add_user("mallory", role="branch")
    return World(log_in("mallory"), Actor("mallory", user.id), services, database, within, outside, kept)


def new_device(world: World, **values: Any) -> Any:
    return world.api.post("/api/devices", json={"name": "mine", "host": FREE, "tags": ["branch"]} | values)


def imported(world: World, text: str) -> dict[str, Any]:
    answer = world.api.post("/api/v1/devices/import?dry_run=true", data=text, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json["rows"][0]
    return row


# Addresses.


@pytest.mark.parametrize(
    ("stored", "spelling"),
    [
        (OUTSIDE, OUTSIDE),
        (OUTSIDE, f"::ffff:{OUTSIDE}"),
        (OUTSIDE, "[::ffff:c000:203]"),
        ("core.example", "CORE.Example."),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "BÜCHER.example"),
        ("2001:db8::1", "2001:0DB8:0::1"),
        ("fe80::1%eth0", "fe80::1%2"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_outside_the_scope_is_not_taken_however_it_is_written(
    world: World, stored: str, spelling: str
) -> None:
    with world.database.transaction() as tx:
        devices.create(tx, name="there", host=stored, tags=["edge"])
    refused = [
        new_device(world, host=spelling),
        new_device(world, host=spelling, port=2222),
        world.api.put(f"/api/devices/{world.within.id}", json={"host": spelling, "default_credential_id": None}),
    ]
    assert [each.status_code for each in refused] == [422] * 3
    assert imported(world, f"name,host,tags\nzz,{spelling},branch\n")["fate"] == "refused"
    assert imported(world, f"id,host,default_credential\n{world.within.id},{spelling},\n")["fate"] == "refused"
    assert new_device(world).status_code == 201


def test_the_port_of_an_address_that_is_shared_with_a_device_outside_is_not_changed(world: World) -> None:
    with world.database.transaction() as tx:
        devices.create(tx, name="console", host=world.within.host, port=2222, site="Berlin")
    path, no_default = f"/api/devices/{world.within.id}", {"default_credential_id": None}
    assert world.api.put(path, json={"description": "edited"}).status_code == 200
    assert world.api.put(path, json={"port": 2222} | no_default).status_code == 422
    assert imported(world, f"id,port,default_credential\n{world.within.id},2222,\n")["fate"] == "refused"
    assert imported(world, f"id,description\n{world.within.id},x\n")["fate"] == "changed"


def test_an_import_does_not_tell_a_device_outside_from_one_that_does_not_exist(world: World) -> None:
    nowhere = "00000000-0000-0000-0000-000000000000"
    rows = [imported(world, f"id,description\n{each},x\n") for each in (world.outside.id, nowhere)]
    assert rows[0] == rows[1]
    rows = [imported(world, f"name,host,tags\n{each},{FREE},branch\n") for each in ("out-secret", "new")]
    assert [row["fate"] for row in rows] == ["added", "added"]
    reasons = {
        imported(world, f"name,host,tags\nzz,{OUTSIDE},branch\n")["reason"],
        imported(world, f"name,host,tags\nout-secret,{OUTSIDE},branch\n")["reason"],
        new_device(world, host=OUTSIDE).json["error"],
    }
    assert len(reasons) == 1


def test_a_role_for_all_devices_takes_any_address(world: World, admin: Api) -> None:
    assert admin.post("/api/devices", json={"name": "twice", "host": OUTSIDE}).status_code == 201


# Secrets.


def test_a_shared_credential_is_sent_to_no_server_of_the_users_own(world: World) -> None:
    mine = new_device(world).json["id"]
    assert [world.would_send(name, mine) for name in (*world.shared, None)] == [None] * 6
    assert world.would_send("branch", world.within.id) == "password of branch"
    assert world.would_send(None, world.within.id) == "password of branch"
    assert world.would_send("here", world.within.id) == "password of here"
    assert world.would_send("core", world.within.id) is None


def test_a_default_credential_is_not_moved_to_another_server(world: World) -> None:
    """The default stays with its device, and the device with its address, unless it has no default any more."""
    path, core, here = f"/api/devices/{world.within.id}", str(world.shared["core"].id), str(world.shared["here"].id)
    branch = str(world.shared["branch"].id)
    bulk = {"ids": [str(world.within.id)], "changes": {"default_credential_id": core}}
    refused = [
        new_device(world, default_credential_id=core),
        new_device(world, default_credential_id=branch),
        new_device(world, default_credential_id=here),
        world.api.put(path, json={"default_credential_id": core}),
        world.api.put(path, json={"host": FREE}),
        world.api.put(path, json={"port": 2222}),
        world.api.send("PATCH", "/api/v1/devices", json=bulk),
    ]
    assert [each.status_code for each in refused] == [422] * 7
    rows = [
        imported(world, f"name,host,tags,default_credential\nmine,{FREE},branch,core\n"),
        imported(world, f"name,host,tags,default_credential\nmine,{FREE},branch,{core}\n"),
        imported(world, f"id,default_credential\n{world.within.id},spare\n"),
        imported(world, f"id,host\n{world.within.id},{FREE}\n"),
        imported(world, f"id,port\n{world.within.id},2222\n"),
    ]
    assert [row["fate"] for row in rows] == ["refused"] * 5
    assert imported(world, f"id,default_credential\n{world.within.id},branch\n")["fate"] == "unchanged"
    assert world.api.put(path, json={"default_credential_id": branch, "description": "x"}).status_code == 200
    assert world.api.put(path, json={"default_credential_id": here}).status_code == 200
    assert world.api.put(path, json={"default_credential_id": None, "host": FREE}).status_code == 200


def test_a_role_for_all_devices_sends_any_shared_credential_to_any_device(
    world: World, admin: Api, add_user: Callable[..., User]
) -> None:
    world.actor = Actor("ann", add_user("ann", role="operator").id)
    assert world.would_send("spare", world.outside.id) == "password of spare"
    assert len(admin.get("/api/credentials").json["items"]) == 5


def test_the_lists_have_only_credentials_that_can_be_used(world: World) -> None:
    for path in ("/api/credentials/accessible", "/api/credentials", "/api/v1/credentials"):
        assert [each["name"] for each in world.api.get(path).json["items"]] == ["branch", "here"], path
    page = world.api.get("/credentials").text
    assert "branch" in page
    assert "spare" not in page
    other = new_device(world).json
    commands = Commands(world.database, world.actor)
    assert isinstance(commands.run("connect in as branch"), Connect)
    with pytest.raises(NotFound):
        commands.run(f"connect {other['name']}")
    with pytest.raises(NotFound):
        commands.run("connect in as spare")


def test_a_shared_credential_outside_the_scope_does_not_exist(world: World) -> None:
    for name in ("core", "there", "spare"):
        path = f"/api/credentials/{world.shared[name].id}"
        answers = [
            world.api.get(path),
            world.api.put(path, json={"name": "x"}),
            world.api.delete(path),
            world.api.get(f"/api/v1/credentials/{world.shared[name].id}/uses"),
            world.api.post(f"/api/v1/credentials/{world.shared[name].id}/rotate", json={"secret": "new"}),
        ]
        assert [each.status_code for each in answers] == [404] * 5, name
        assert "out-secret" not in "".join(each.text for each in answers)


def test_a_shared_credential_keeps_its_address(world: World) -> None:
    """Moved to a server of the user's own, or freed of its address, it would be sent there."""
    here, branch = (f"/api/credentials/{world.shared[name].id}" for name in ("here", "branch"))
    new = {"name": "n", "credential_type": "ssh_password", "username": "ops", "secret": "s"}
    refused = [
        world.api.put(here, json={"host": FREE}),
        world.api.put(here, json={"host": None}),
        world.api.put(branch, json={"host": FREE}),
        world.api.put(branch, json={"secret": "other"}),
        world.api.delete(branch),
        world.api.post(f"/api/v1/credentials/{world.shared['branch'].id}/rotate", json={"secret": "new"}),
        world.api.post("/api/credentials", json=new),
        world.api.post("/api/credentials", json=new | {"host": OUTSIDE}),
    ]
    assert [each.status_code for each in refused] == [422] * 8, [each.text for each in refused]
    assert world.api.post("/api/credentials", json=new | {"host": world.within.host}).status_code == 201
    assert world.api.put(here, json={"secret": "other", "host": world.within.host}).status_code == 200
    assert world.api.delete(here).json == {"devices": []}


def test_the_uses_of_a_credential_are_those_within_the_scope(world: World, admin: Api) -> None:
    here = world.shared["here"]
    with world.database.transaction() as tx:
        by = world.api.user_id
        twin = devices.create(tx, name="out-twin", host=here.host or "", default_credential_id=here.id)
        definitions.create(tx, name="d-in", host=world.within.host, created_by=by, credential_override_id=here.id)
        definitions.create(tx, name="d-out", host=OUTSIDE, created_by=by, credential_override_id=here.id)
        opening = {"device_name": twin.name, "username": "root", "contact": "reached"}
        at = twin.created_at
        device_contacts.note_opening(
            tx,
            Opening(device_id=twin.id, credential_id=here.id, at=at, **opening),  # type: ignore[arg-type]
        )

    def facts(api: Api) -> Any:
        item = next(each for each in api.get("/api/v1/credentials").json["items"] if each["name"] == "here")
        return item["devices"], item["definitions"], item["last_used"] is not None

    assert facts(admin) == (1, 2, True)
    assert facts(world.api) == (0, 1, False)
    uses = world.api.get(f"/api/v1/credentials/{here.id}/uses").json
    assert [each["name"] for each in uses["definitions"]] == ["d-in"]
    assert world.api.delete(f"/api/credentials/{here.id}").json == {"devices": []}


# Host keys.


def new_key() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def test_a_host_key_outside_the_scope_does_not_exist(world: World, admin: Api) -> None:
    with world.database.transaction() as tx:
        devices.create(tx, name="out-console", host=world.within.host, site="Berlin")
        for host in (OUTSIDE, world.within.host):
            hostkeys.remember(tx, host, 22, *hostkeys.parse_public_key(new_key()), "root")
    assert [each["host"] for each in world.api.get("/api/host-keys").json] == [world.within.host]
    listed = world.api.get("/api/v1/host-keys").json["items"]
    assert [(each["host"], each["devices"]) for each in listed] == [(world.within.host, ["in"])]
    assert world.api.get("/api/v1/host-keys?search=out-console").json["items"] == []
    for host, status in ((OUTSIDE, 404), (FREE, 404), (world.within.host, 201)):
        body = {"host": host, "port": 22, "public_key": new_key()}
        assert world.api.post("/api/host-keys", json=body).status_code == status
    unknown = world.api.delete(f"/api/host-keys/{OUTSIDE}/23")
    refused = world.api.delete(f"/api/host-keys/{OUTSIDE}/22")
    assert (unknown.status_code, refused.status_code) == (404, 404)
    assert unknown.json["error"].replace(":23", ":22") == refused.json["error"].replace(":22", ":22")
    assert world.api.delete(f"/api/host-keys/{world.within.host}/22").status_code == 204
    assert len(admin.get("/api/host-keys").json) == 1


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_prompt_outside_the_scope_does_not_exist(world: World, admin: Api, verb: str) -> None:
    with world.database.transaction() as tx:
        of = UUID(admin.user["id"])
        there = prompts.ask(tx, of, OUTSIDE, 22, "SHA256:a", None)
        here = prompts.ask(tx, of, world.within.host, 22, "SHA256:b", None)
    listed = world.api.get("/api/v1/host-keys/prompts").json["items"]
    assert [(each["host"], each["device"]) for each in listed] == [(world.within.host, "in")]
    assert world.api.post(f"/api/host-keys/prompts/{there.id}/{verb}").status_code == 404
    assert world.api.post(f"/api/host-keys/prompts/{here.id}/{verb}").status_code == 204
    assert len(admin.get("/api/v1/host-keys/prompts").json["items"]) == 1
