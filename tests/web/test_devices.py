"""The device list: in the shape that the web client can read, and edited only with the permission."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from netstacks.encodings import normal_encoding
from netstacks.store import sessions
from netstacks.store.pool import Database
from tests.rows import make_session
from tests.web.conftest import Api

# What the client's "Edit Device" sends, always all of it.
FORM = {
    "name": "core-1",
    "host": "10.0.0.1",
    "port": 22,
    "device_type": "cisco_ios",
    "description": "",
    "site": "",
    "manufacturer": "",
    "model": "",
}
# What the client's form knows nothing of.
AS_IT_IS = {"algorithms": "antique", "encoding": "shift_jis", "lines": 5, "patience_secs": 90}


def add_device(admin: Api, **values: Any) -> dict[str, Any]:
    answer = admin.post("/api/devices", json=FORM | values)
    assert answer.status_code == 201, answer.text
    return answer.json


def add_credential(admin: Api, path: str = "/api/credentials", **values: Any) -> str:
    body = {"name": "c", "credential_type": "ssh_password", "username": "u", "secret": "s"}
    answer = admin.post(path, json=body | values)
    assert answer.status_code == 201, answer.text
    return answer.json["id"]


def test_browse_has_the_shape_that_the_client_reads(admin: Api, viewer: Api) -> None:
    assert viewer.get("/api/devices/browse?limit=1000").json == {"items": [], "total": 0, "limit": 1000, "offset": 0}
    device = add_device(admin)
    answer = viewer.get("/api/devices/browse?limit=1&offset=0").json
    assert answer == {"items": [device], "total": 1, "limit": 1, "offset": 0}
    assert {name: type(device[name]) for name in ("id", "org_id", "name", "host", "port", "device_type", "source")} == {
        **dict.fromkeys(("id", "org_id", "name", "host", "device_type", "source"), str),
        "port": int,
    }
    assert UUID(device["org_id"])
    assert device["connect_commands"] == []
    assert device["created_at"].endswith("Z")
    assert [device[name] for name in ("manufacturer", "model", "site", "default_credential_id")] == [None] * 4


def test_browse_filters(admin: Api) -> None:
    add_device(admin, name="a", site="berlin")
    add_device(admin, name="b", site="paris", device_type="junos")
    for query in ("search=B", "site=paris", "device_type=junos"):
        answer = admin.get(f"/api/devices/browse?{query}").json
        assert ([item["name"] for item in answer["items"]], answer["total"]) == (["b"], 1)
    assert admin.get("/api/devices/browse?source=netbox").json["items"] == []
    # Filters that were left empty in a form are none.
    assert admin.get("/api/devices/browse?search=&site=&limit=").json["total"] == 2


def test_a_device_says_how_it_is_spoken_to(admin: Api, viewer: Api) -> None:
    device = add_device(admin)
    assert {name: device[name] for name in AS_IT_IS} == {
        "algorithms": "modern",
        "encoding": "utf-8",
        "lines": None,
        "patience_secs": None,
    }
    assert device["legacy_algorithms"] is False
    path = f"/api/devices/{device['id']}"
    edited = admin.put(path, json=AS_IT_IS | {"encoding": "SJIS"}).json
    assert edited | {"updated_at": 0} == device | AS_IT_IS | {"legacy_algorithms": True, "version": 2, "updated_at": 0}
    assert viewer.get("/api/devices/browse").json["items"] == [edited]
    edited = admin.put(path, json={"lines": None, "patience_secs": None}).json
    assert (edited["lines"], edited["patience_secs"], edited["algorithms"]) == (None, None, "antique")


def test_an_older_script_allows_legacy_algorithms_and_takes_nothing_away(admin: Api) -> None:
    device = add_device(admin, legacy_algorithms=True)
    assert (device["algorithms"], device["legacy_algorithms"]) == ("antique", True)
    path = f"/api/devices/{device['id']}"

    def level_after(**values: Any) -> str:
        level: str = admin.put(path, json=values).json["algorithms"]
        return level

    # Only `true` says something: `algorithms` alone takes a level away.
    assert level_after(legacy_algorithms=False) == "antique"
    assert level_after(algorithms="legacy", legacy_algorithms=True) == "legacy"
    assert level_after(legacy_algorithms=True) == "legacy"
    assert level_after(algorithms="modern", legacy_algorithms=True) == "modern"
    assert level_after(legacy_algorithms=True) == "antique"
    assert add_device(admin, algorithms="legacy", legacy_algorithms=True)["algorithms"] == "legacy"
    assert add_device(admin, legacy_algorithms=False)["algorithms"] == "modern"


def test_the_page_offers_common_encodings_in_their_stored_spelling(page: Api) -> None:
    select = re.search(r'<select name="encoding">(.*?)</select>', page.get("/").text, re.DOTALL)
    assert select
    offered = re.findall(r'<option value="(.*?)">', select[1])
    assert len(offered) == 12
    assert [normal_encoding(value) for value in offered] == offered
    assert offered[0] == "utf-8"


def test_an_edit_with_an_empty_description_keeps_the_stored_one(admin: Api) -> None:
    device = add_device(admin, description="in the cellar", **AS_IT_IS)
    path = f"/api/devices/{device['id']}"
    edited = admin.put(path, json=FORM | {"name": "core-2", "site": "berlin"}).json
    assert edited | {"updated_at": 0} == device | {"name": "core-2", "site": "berlin", "version": 2, "updated_at": 0}
    assert admin.put(path, json={"description": None}).json["description"] is None
    assert admin.get(path).json["name"] == "core-2"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"name": " "}, "name: "),
        ({"name": None}, "name: "),
        ({"host": "two words"}, "host: 'two words' is neither a host name nor an IP address"),
        ({"host": "10.0.0.256"}, "host: "),
        ({"host": ""}, "host: "),
        ({"port": 0}, "port: must be greater than or equal to 1"),
        ({"port": 65536}, "port: must be less than or equal to 65535"),
        ({"port": "ssh"}, "port: "),
        ({"algorithms": "ancient"}, "algorithms: must be 'modern', 'legacy' or 'antique'"),
        ({"algorithms": None}, "algorithms: must be 'modern', 'legacy' or 'antique'"),
        ({"legacy_algorithms": "perhaps"}, "legacy_algorithms: must be a valid boolean"),
        ({"encoding": "utf-16"}, "encoding: 'utf-16' cannot be used for a terminal: it must be the name of"),
        ({"encoding": "hex"}, "encoding: 'hex' cannot"),
        ({"encoding": ""}, "encoding: '' cannot"),
        ({"encoding": None}, "encoding: must be a valid string"),
        ({"lines": 0}, "lines: must be greater than or equal to 1"),
        ({"lines": 1001}, "lines: must be less than or equal to 1000"),
        ({"lines": "many"}, "lines: must be a valid integer"),
        ({"patience_secs": 4}, "patience_secs: must be greater than or equal to 5"),
        ({"patience_secs": 601}, "patience_secs: must be less than or equal to 600"),
        ({"patience_secs": 7.5}, "patience_secs: must be a valid integer"),
        ({"default_credential_id": "none"}, "default_credential_id: "),
        ({"default_credential_id": str(uuid4())}, "default_credential_id: must be a shared SSH credential"),
    ],
)
def test_wrong_values_are_named(admin: Api, wrong: dict[str, Any], problem: str) -> None:
    path = f"/api/devices/{add_device(admin)['id']}"
    for answer in (admin.post("/api/devices", json=FORM | wrong), admin.put(path, json=FORM | wrong)):
        assert answer.status_code == 422
        assert answer.json["error"].startswith(problem)


def test_a_new_device_needs_a_name_and_a_host(admin: Api) -> None:
    assert admin.post("/api/devices", json={"host": "r1"}).json == {"error": "name: is missing"}
    assert admin.post("/api/devices", json={"name": "r1"}).json == {"error": "host: is missing"}
    assert admin.post("/api/devices", json={"name": "r1", "host": "R1"}).json["port"] == 22


def test_the_default_credential_is_one_that_every_user_may_use(admin: Api) -> None:
    shared = add_credential(admin)
    assert add_device(admin, default_credential_id=shared)["default_credential_id"] == shared
    for unfit in (
        add_credential(admin, "/api/credentials/personal"),
        add_credential(admin, credential_type="snmp_community"),
    ):
        assert admin.post("/api/devices", json=FORM | {"default_credential_id": unfit}).status_code == 422


def test_the_default_credential_is_one_for_the_devices_address(admin: Api) -> None:
    here, there = add_credential(admin, host="r1.example"), add_credential(admin, name="there", host="10.0.0.2")
    problem = "default_credential_id: there is for 10.0.0.2 only: "
    answer = admin.post("/api/devices", json=FORM | {"default_credential_id": there})
    assert (answer.status_code, answer.json["error"][: len(problem)]) == (422, problem)
    device = add_device(admin, host="R1.EXAMPLE", default_credential_id=here)
    for change in ({"default_credential_id": there}, {"default_credential_id": here, "host": "10.0.0.1"}):
        assert admin.put(f"/api/devices/{device['id']}", json=change).status_code == 422
    both = {"default_credential_id": there, "host": "10.0.0.2"}
    assert admin.put(f"/api/devices/{device['id']}", json=both).json["host"] == "10.0.0.2"
    # A client that does not know the default moves the device: its log-ins are refused, not the change.
    assert admin.put(f"/api/devices/{device['id']}", json=FORM).json["default_credential_id"] == there


def test_deleting_a_device_tells_how_many_sessions_go_on(admin: Api, database: Database) -> None:
    device = add_device(admin)
    session_id = make_session(database, user_id=admin.user_id, device_id=UUID(device["id"]), host="10.0.0.1")
    assert admin.delete(f"/api/devices/{device['id']}").json == {"live_sessions": 1}
    assert admin.get(f"/api/devices/{device['id']}").status_code == 404
    with database.transaction() as tx:
        session = sessions.find(tx, session_id)
    assert session is not None
    assert session.state == "active"


def test_only_managers_edit(admin: Api, operator: Api, viewer: Api, anonymous: Api) -> None:
    path = f"/api/devices/{add_device(admin)['id']}"
    for user in (operator, viewer):
        assert user.get(path).status_code == 200
        assert user.post("/api/devices", json=FORM).status_code == 403
        assert user.put(path, json=FORM).status_code == 403
        assert user.delete(path).status_code == 403
    assert anonymous.get("/api/devices/browse").status_code == 401


def test_an_unknown_device_is_404_in_json(admin: Api) -> None:
    for answer in (
        admin.get(f"/api/devices/{uuid4()}"),
        admin.put(f"/api/devices/{uuid4()}", json=FORM),
        admin.delete(f"/api/devices/{uuid4()}"),
        admin.get("/api/devices/1"),
    ):
        assert (answer.status_code, type(answer.json["error"])) == (404, str)


def test_edits_are_audited_with_what_changed(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    device_id = add_device(admin)["id"]
    admin.put(f"/api/devices/{device_id}", json=FORM | {"host": "10.0.0.2", "algorithms": "legacy", "encoding": "GBK"})
    admin.delete(f"/api/devices/{device_id}")
    rows = audited("device.*")
    assert [row["event"] for row in rows] == ["device.created", "device.updated", "device.deleted"]
    assert {(row["actor"], row["resource"]) for row in rows} == {("admin", f"device:{device_id}")}
    assert rows[1]["details"]["changes"] == {
        "host": ["10.0.0.1", "10.0.0.2"],
        "algorithms": ["modern", "legacy"],
        "encoding": ["utf-8", "gbk"],
    }
