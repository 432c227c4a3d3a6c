"""Features that administrators switch off: each is refused in words, for all users or for a role, and back again."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from netstacks.errors import AccessWithdrawn, RetryLater
from netstacks.instance.current_settings import CurrentSettings
from netstacks.permissions import preset
from netstacks.recording.chunks import EventKind
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import SHARING
from netstacks.web.auth.factor_states import FactorStates
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import Services
from netstacks.web.jumpbox.visit import Visit
from tests.rows import make_session, record
from tests.web.conftest import PASSWORD, Api


def _nobody(*_: object, **__: object) -> None:
    raise RetryLater("nobody holds the session")


@pytest.fixture
def services(services: Services) -> Services:
    services.broker = cast(Any, SimpleNamespace(ask=_nobody))
    services.recorder = cast(Any, SimpleNamespace(flush=lambda timeout_secs: True))
    return services


def switch(admin: Api, key: str, **value: Any) -> None:
    answer = admin.put(f"/api/v1/settings/{key}", json={"value": value})
    assert answer.status_code == 200, answer.text


@pytest.fixture
def theirs(operator: Api, database: Database) -> UUID:
    session_id = make_session(database, user_id=operator.user_id, username="operator")
    record(database, session_id, (EventKind.OUTPUT, b"R1#"))
    return session_id


def test_sharing(admin: Api, operator: Api, theirs: UUID, audited: Callable[[str], Any]) -> None:
    path = f"/api/sessions/{theirs}/share"
    assert operator.post(path, json={}).status_code == 201
    switch(admin, "features.sharing", enabled=True, disabled_roles=["operator"])
    answer = operator.post(path, json={})
    assert answer.status_code == 403
    assert answer.json["error"] == (
        "Sharing of sessions is switched off for your role, operator. An administrator can change that."
    )
    assert operator.post(path, data="no JSON").json == answer.json
    assert admin.post(path, json={}).status_code == 201
    switch(admin, "features.sharing", enabled=False)
    assert "Sharing of sessions is switched off." in admin.post(path, json={}).json["error"]
    assert len(operator.get(path).json) == 2
    admin.delete("/api/v1/settings/features.sharing")
    assert operator.post(path, json={}).status_code == 201
    assert len(audited("session.shared")) == 3


def test_the_download_of_recordings(admin: Api, operator: Api, page: Api, theirs: UUID) -> None:
    path = f"/api/recordings/{theirs}/data"
    assert operator.get(f"{path}?download=1").status_code == 200
    assert "download=1" in page.get(f"/sessions/{theirs}/replay").text
    switch(admin, "features.replay_download", enabled=False)
    answer = operator.get(f"{path}?download=1")
    assert (answer.status_code, answer.json["error"][:43]) == (403, "Download of recordings is switched off. An ")
    assert operator.get(path).status_code == 200
    assert "download=1" not in page.get(f"/sessions/{theirs}/replay").text
    assert "download=1" not in page.get("/sessions").text


def test_the_jump_box(admin: Api, services: Services) -> None:
    services.agent.is_draining = False  # type: ignore[misc]
    states: Any = SimpleNamespace(role=lambda _: preset("operator"))
    visit = Visit(cast(Any, None), Subject(uuid4(), "lee", "operator", uuid4()), states, FactorStates(), services)
    visit.check()
    switch(admin, "features.jump_box", enabled=True, disabled_roles=["operator"])
    with pytest.raises(AccessWithdrawn, match="Jump box is switched off for your role, operator"):
        visit.check()
    switch(admin, "features.jump_box", enabled=True, disabled_roles=["viewer"])
    visit.check()
    admin.put("/api/v1/settings/login.banner", json={"value": "One.\nTwo."})
    assert visit.banner == ["One.", "Two."]


def test_longer_passwords(admin: Api, page: Api) -> None:
    body = {"username": "new", "password": "eel violin tram", "role": "operator"}
    admin.put("/api/v1/settings/passwords.min_length", json={"value": 16})
    answer = admin.post("/api/users", json=body)
    assert (answer.status_code, answer.json["error"]) == (422, "password: must have 16 to 1024 characters")
    # Existing passwords go on.
    assert admin.get("/api/auth/me").status_code == 200
    assert admin.post("/api/users", json=body | {"password": "eel violin tram jade"}).status_code == 201
    admin.put("/api/v1/settings/passwords.min_admin_length", json={"value": 30})
    answer = admin.post(
        "/api/users", json=body | {"username": "x", "password": "eel violin tram jade", "role": "admin"}
    )
    assert answer.json["error"] == "password: must have 30 to 1024 characters for an administrator"
    own = {"current_password": PASSWORD, "new_password": "eel violin tram jade"}
    assert "30 to 1024" in admin.put("/api/auth/password", json=own).json["error"]
    assert "At least 30" in page.get("/account").text


def attempt(anonymous: Api, password: str) -> int:
    body = {"username": "lee", "password": password}
    return anonymous.post("/api/auth/login", json=body).status_code


def test_an_earlier_wait_after_wrong_passwords(admin: Api, anonymous: Api, add_user: Callable[..., Any]) -> None:
    add_user("lee")
    admin.put("/api/v1/settings/passwords.free_attempts", json={"value": 3})
    assert [attempt(anonymous, "wrong") for _ in range(4)] == [401, 401, 401, 429]
    assert attempt(anonymous, PASSWORD) == 429


def test_a_longer_wait_after_wrong_passwords(
    admin: Api, anonymous: Api, add_user: Callable[..., Any], database: Database
) -> None:
    add_user("lee")
    admin.put("/api/v1/settings/passwords.longest_wait_secs", json={"value": 900})
    attempt(anonymous, "wrong")
    with database.transaction() as tx:
        tx.execute("UPDATE failed_logins SET failures = 30 WHERE failures = 1")
    answer = anonymous.post("/api/auth/login", json={"username": "lee", "password": "wrong"})
    assert answer.status_code == 429
    assert 600 < int(answer.headers["Retry-After"]) <= 900


def test_a_change_at_one_instance_is_read_by_another(admin: Api, database: Database) -> None:
    elsewhere = CurrentSettings(database)
    elsewhere.refresh()
    assert elsewhere.get(SHARING).may_use("operator")
    switch(admin, "features.sharing", enabled=False)
    elsewhere.refresh()
    assert not elsewhere.get(SHARING).may_use("operator")
