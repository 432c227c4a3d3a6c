"""Shared credentials: where they are used, when they were last used, and how their secrets are rotated."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from netstacks.errors import DeviceLoginRefused
from netstacks.store import device_contacts
from netstacks.store.device_contacts import Opening
from netstacks.store.pool import Database
from netstacks.web.context import Services
from tests.web.conftest import Api
from tests.web.test_device_list import add


def create(admin: Api, name: str = "TACACS", path: str = "/api/credentials", **values: Any) -> str:
    body = {"name": name, "credential_type": "ssh_password", "username": "netops", "secret": "old"}
    answer = admin.post(path, json=body | values)
    assert answer.status_code == 201, answer.text
    credential_id: str = answer.json["id"]
    return credential_id


def names(admin: Api, query: str = "") -> list[str]:
    answer = admin.get(f"/api/v1/credentials?{query}")
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json["items"]]


def note(database: Database, credential: str, device: str, *, at: datetime, **values: Any) -> None:
    facts: dict[str, Any] = {"device_name": "r1", "username": "lee", "contact": "reached"} | values
    with database.transaction() as tx:
        device_contacts.note_opening(
            tx, Opening(device_id=UUID(device), credential_id=UUID(credential), at=at, **facts)
        )


def test_a_credential_shows_its_uses(admin: Api, database: Database) -> None:
    credential, other = create(admin), create(admin, "Other")
    device = add(admin, "r1", default_credential_id=credential)["id"]
    add(admin, "r2", default_credential_id=credential)
    definition = {"name": "d", "host": "192.0.2.1", "credential_override_id": credential}
    assert admin.post("/api/session-definitions", json=definition).status_code in (200, 201)
    now = datetime.now(UTC).replace(microsecond=0)
    note(database, credential, device, at=now)
    note(database, credential, device, at=now - timedelta(hours=1), username="before")
    note(database, other, device, at=now, contact="refused", reason="wrong password")
    items = {item["id"]: item for item in admin.get("/api/v1/credentials").json["items"]}
    assert (items[credential]["devices"], items[credential]["definitions"]) == (2, 1)
    used = items[credential]["last_used"]
    assert (used["username"], used["device"], used["device_id"]) == ("lee", "r1", device)
    assert datetime.fromisoformat(used["at"]) == now
    assert items[other]["last_used"] is None
    assert not {"secret", "enable_secret"} & set(items[credential])
    uses = admin.get(f"/api/v1/credentials/{credential}/uses").json
    assert [each["name"] for each in uses["devices"]] == ["r1", "r2"]
    assert uses["device_total"] == 2
    assert [each["name"] for each in uses["definitions"]] == ["d"]


def test_stale_credentials_are_found(admin: Api, database: Database) -> None:
    device = add(admin, "r1")["id"]
    now = datetime.now(UTC)
    for name, days in (("fresh", 1), ("stale", 91)):
        note(database, create(admin, name, username=f"u-{name}"), device, at=now - timedelta(days=days))
    create(admin, "never")
    assert names(admin) == ["fresh", "never", "stale"]
    assert names(admin, "unused_days=90") == ["never", "stale"]
    assert names(admin, "never=1") == ["never"]
    assert names(admin, "search=U-FRESH") == ["fresh"]
    assert admin.get("/api/v1/credentials?unused_days=0").status_code == 422


def test_personal_credentials_are_not_in_the_list(admin: Api) -> None:
    own = create(admin, "mine", "/api/credentials/personal")
    assert names(admin) == []
    assert admin.get(f"/api/v1/credentials/{own}/uses").status_code == 404
    assert admin.post(f"/api/v1/credentials/{own}/rotate", json={"secret": "x"}).status_code == 404


def test_a_rotation_replaces_the_secret_and_is_audited(
    admin: Api, services: Services, database: Database, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    credential = create(admin)
    answer = admin.post(f"/api/v1/credentials/{credential}/rotate", json={"secret": "new", "enable_secret": ""})
    assert answer.status_code == 200, answer.text
    assert "secret" not in answer.json
    with database.transaction() as tx:
        assert services.vault.open(tx, UUID(credential), "secret") == "new"
    (row,) = audited("credential.rotated")
    assert row["details"] == {"name": "TACACS", "vault_type": "shared", "secrets": ["secret"], "tested_on": None}


def test_of_two_rotations_at_once_the_later_one_is_refused(admin: Api, page: Api) -> None:
    credential = create(admin)
    path, version = f"/api/v1/credentials/{credential}/rotate", 1
    assert page.post(path, json={"secret": "theirs", "version": version}).status_code == 200
    late = admin.post(path, json={"secret": "mine", "version": version})
    assert (late.status_code, late.json["code"]) == (409, "CHANGED_MEANWHILE")
    assert "was changed meanwhile by page-admin" in late.json["error"]
    assert admin.post(path, json={"secret": "mine", "version": version + 1}).status_code == 200


@pytest.mark.parametrize("body", [{}, {"secret": ""}, {"secret": "x", "test_device_id": "y"}, {"secret": 7}])
def test_what_is_no_rotation(admin: Api, body: dict[str, Any]) -> None:
    assert admin.post(f"/api/v1/credentials/{create(admin)}/rotate", json=body).status_code == 422


def test_a_secret_that_fails_its_test_is_not_stored(
    admin: Api, services: Services, database: Database, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    credential = create(admin)

    def refuse(*_: Any) -> str:
        raise DeviceLoginRefused("r1 refuses the password")

    services.log_in_test = cast(Any, SimpleNamespace(run=refuse))
    body = {"secret": "new", "test_device_id": str(uuid4())}
    answer = admin.post(f"/api/v1/credentials/{credential}/rotate", json=body)
    assert answer.status_code == 502
    assert "r1 refuses the password" in answer.json["error"]
    with database.transaction() as tx:
        assert services.vault.open(tx, UUID(credential), "secret") == "old"
    assert audited("credential.rotated") == []
    assert "new" not in str(audited("credential.rotation_refused"))

    services.log_in_test = cast(Any, SimpleNamespace(run=lambda *_: "r1"))
    assert admin.post(f"/api/v1/credentials/{credential}/rotate", json=body).json["tested_on"] == "r1"


def test_only_managers_see_and_rotate(operator: Api, viewer: Api) -> None:
    for api in (operator, viewer):
        assert api.get("/api/v1/credentials").status_code == 403
        assert api.post(f"/api/v1/credentials/{uuid4()}/rotate", json={"secret": "x"}).status_code == 403
