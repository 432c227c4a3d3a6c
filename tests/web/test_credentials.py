"""Credentials over HTTP: shapes, visibility, and secrets that come out by an audited reveal only."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.context import Services
from tests.web.conftest import Api

PERSONAL, SHARED = "/api/credentials/personal", "/api/credentials"
BODY = {"name": "lab", "credential_type": "ssh_password", "username": "admin", "secret": "pa55word-of-lab"}


def add(api: Api, path: str = PERSONAL, **values: Any) -> dict[str, Any]:
    answer = api.post(path, json=BODY | values)
    assert answer.status_code == 201, answer.text
    return answer.json


def test_no_user_has_a_default_before_there_is_a_credential(operator: Api) -> None:
    answer = operator.get("/api/credentials/accessible/default")
    assert (answer.status_code, answer.text.strip()) == (200, "null")
    assert operator.get("/api/credentials/accessible").json == {"items": []}
    assert operator.get(PERSONAL).json == {"items": []}


def test_accessible_are_own_and_shared_ssh_credentials(admin: Api, operator: Api) -> None:
    own = add(operator, name="b")
    shared = add(admin, SHARED, name="a")
    add(admin, name="the admin's own")
    add(operator, credential_type="api_token", name="token")
    items = operator.get("/api/credentials/accessible").json["items"]
    assert items == [shared, own]
    assert [item["vault_type"] for item in items] == ["shared", "personal"]
    assert set(own) == {
        *("id", "name", "description", "credential_type", "username", "host", "port", "vault_type"),
        *("has_enable_secret", "created_at", "updated_at", "version"),
    }


def test_the_default_is_the_users_choice_or_the_only_one(admin: Api, operator: Api) -> None:
    def default() -> Any:
        return operator.get("/api/credentials/accessible/default").json

    shared = add(admin, SHARED)
    assert default() == shared
    own = add(operator)
    assert default() is None
    operator.put("/api/user-settings/terminal.default_credential", json=own["id"])
    assert default() == own


def test_personal_ones_are_their_owners_alone(admin: Api, operator: Api) -> None:
    own = add(operator, enable_secret="enable-secret")
    assert own["has_enable_secret"] is True
    assert operator.get(PERSONAL).json == {"items": [own]}
    assert admin.get(PERSONAL).json == {"items": []}
    path = f"{PERSONAL}/{own['id']}"
    for answer in (
        admin.put(path, json={"name": "x"}),
        admin.delete(path),
        admin.post(f"{path}/reveal", json={"reason": "curious"}),
        admin.put(f"{SHARED}/{own['id']}", json={"name": "x"}),
        admin.get(f"{SHARED}/{own['id']}"),
        admin.delete(f"{SHARED}/{own['id']}"),
    ):
        assert answer.status_code == 404
    assert operator.get(PERSONAL).json == {"items": [own]}


def test_a_change_keeps_what_is_not_sent(operator: Api) -> None:
    own = add(operator, description="text", host="R1", port=2222)
    path = f"{PERSONAL}/{own['id']}"
    changed = operator.put(path, json={"name": "renamed", "secret": ""}).json
    assert changed | {"updated_at": 0} == own | {"name": "renamed", "version": 2, "updated_at": 0}
    assert (changed["host"], changed["port"]) == ("r1", 2222)
    assert operator.post(f"{path}/reveal", json={"reason": "r"}).json == {"secret": BODY["secret"]}
    operator.put(path, json={"secret": "new-secret"})
    assert operator.post(f"{path}/reveal", json={"reason": "r"}).json == {"secret": "new-secret"}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"secret": None}, "secret: is missing"),
        ({"secret": ""}, "secret: is missing"),
        ({"username": ""}, "username: is missing"),
        ({"credential_type": "telnet"}, "credential_type: must be 'ssh_password', 'ssh_key'"),
        ({"credential_type": "ssh_key"}, "secret: must be a private key"),
        ({"name": ""}, "name: "),
        ({"port": 70000}, "port: "),
        ({"passphrase": "p"}, "passphrase: "),
        ({"secret": "nul\0"}, "Text must not contain NUL"),
    ],
)
def test_wrong_values_are_named_and_nothing_is_stored(operator: Api, wrong: dict[str, Any], problem: str) -> None:
    answer = operator.post(PERSONAL, json=BODY | wrong)
    assert answer.status_code == 422
    assert answer.json["error"].startswith(problem)
    assert operator.get(PERSONAL).json == {"items": []}


def test_reveal_wants_a_reason_and_keeps_it(operator: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    path = f"{PERSONAL}/{add(operator)['id']}/reveal"
    for body in ({}, {"reason": " "}):
        assert operator.post(path, json=body).status_code == 422
    assert audited("credential.revealed") == []
    assert operator.post(path, json={"reason": "console access"}).status_code == 200
    (row,) = audited("credential.revealed")
    assert (row["actor"], row["details"]["reason"]) == ("operator", "console access")


def test_shared_ones_need_the_permission_to_manage_them(admin: Api, operator: Api) -> None:
    shared = add(admin, SHARED)
    path = f"{SHARED}/{shared['id']}"
    assert admin.get(SHARED).json == {"items": [shared]}
    assert admin.get(path).json == shared
    assert admin.put(path, json={"name": "renamed"}).json["name"] == "renamed"
    for answer in (
        operator.get(SHARED),
        operator.get(path),
        operator.post(SHARED, json=BODY),
        operator.put(path, json={"name": "x"}),
        operator.delete(path),
    ):
        assert answer.status_code == 403
    assert admin.post(f"{PERSONAL}/{shared['id']}/reveal", json={"reason": "r"}).status_code == 404


def test_deleting_one_names_the_devices_that_used_it(admin: Api) -> None:
    shared = add(admin, SHARED)
    body = {"name": "core-1", "host": "r1", "default_credential_id": shared["id"]}
    device = admin.post("/api/devices", json=body).json
    assert admin.delete(f"{SHARED}/{shared['id']}").json == {"devices": ["core-1"]}
    assert admin.get(f"/api/devices/{device['id']}").json["default_credential_id"] is None
    assert admin.delete(f"{SHARED}/{shared['id']}").status_code == 404


def test_no_answer_and_no_audit_row_holds_a_secret(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    words = ("secret-word-1", "secret-word-2", "secret-word-3")
    own = add(admin, secret=words[0], enable_secret=words[1])
    path = f"{PERSONAL}/{own['id']}"
    answers = [
        admin.put(path, json={"secret": words[2]}),
        admin.put(path, json={"secret": [words[2]]}),
        admin.put(path, json={"credential_type": "ssh_key", "secret": words[2]}),
        admin.post(PERSONAL, json=BODY | {"secret": {"x": words[0]}}),
        admin.get(PERSONAL),
        admin.get("/api/credentials/accessible"),
    ]
    texts = [answer.text for answer in answers] + [str(row) for row in audited("credential.*")]
    assert not [text for text in texts for word in words if word in text]
    assert audited("credential.updated")[0]["details"]["secrets"] == ["secret"]


def test_a_locked_vault_says_so_and_stores_nothing(services: Services, database: Database, operator: Api) -> None:
    own = add(operator)
    services.vault = Vault(database, "0f" * 32)
    for answer in (
        operator.post(PERSONAL, json=BODY),
        operator.post(f"{PERSONAL}/{own['id']}/reveal", json={"reason": "r"}),
    ):
        assert answer.status_code == 503
        assert "VAULT_MASTER_KEY" in answer.json["error"]
    assert operator.get(PERSONAL).json == {"items": [own]}


def test_refusals_are_never_401_for_a_logged_in_user(operator: Api, anonymous: Api) -> None:
    assert operator.post(f"{PERSONAL}/{uuid4()}/reveal", json={"reason": "r"}).status_code == 404
    assert anonymous.get("/api/credentials/accessible").status_code == 401
