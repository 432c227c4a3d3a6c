"""Administration of identity providers: what is accepted and shown, and who may give roles."""

from collections.abc import Callable
from typing import Any

import pytest

from netstacks.store.pool import Database
from tests.web.conftest import Api

PATH = "/api/v1/identity-providers"
ENTRY = {
    "name": "Example ID",
    "issuer": "https://login.example.net",
    "client_id": "netstacks",
    "client_secret": "top secret",
}


def create(api: Api, **members: Any) -> Any:
    answer = api.post(PATH, json=ENTRY | members)
    assert answer.status_code == 201, answer.text
    return answer.json


@pytest.fixture
def helper(admin: Api, add_user: Any, log_in: Callable[..., Api]) -> Api:
    """A user who may manage single sign-on, and else what an operator may."""
    permissions = ["sso.manage", "sessions.connect", "devices.access", "recordings.view", "ha.view"]
    role = {"name": "sso-helper", "description": "", "permissions": permissions, "device_tags": [], "device_sites": []}
    assert admin.post("/api/v1/roles", json=role).status_code == 201
    add_user("helper", role="sso-helper")
    return log_in("helper")


def test_the_secret_is_never_shown(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    entry = create(admin)
    assert entry["has_secret"]
    assert "top secret" not in admin.get(PATH).text + admin.get(f"{PATH}/{entry['id']}").text
    assert "top secret" not in str(audited("identity_provider.*"))


def test_a_change_keeps_the_secret_unless_the_issuer_changes(admin: Api) -> None:
    entry = create(admin)
    change = {**ENTRY, "client_secret": "", "version": entry["version"]}
    answer = admin.put(f"{PATH}/{entry['id']}", json=change | {"issuer": "https://evil.example"})
    assert answer.status_code == 422
    assert answer.json["error"].startswith("client_secret: enter it again")
    answer = admin.put(f"{PATH}/{entry['id']}", json=change | {"name": "Other"})
    assert (answer.json["name"], answer.json["has_secret"]) == ("Other", True)
    change["version"] = answer.json["version"]
    answer = admin.put(f"{PATH}/{entry['id']}", json=change | {"client_secret": None})
    assert answer.json["has_secret"] is False


def test_an_older_version_is_refused(admin: Api) -> None:
    entry = create(admin)
    change = {**ENTRY, "version": entry["version"]}
    assert admin.put(f"{PATH}/{entry['id']}", json=change).status_code == 200
    answer = admin.put(f"{PATH}/{entry['id']}", json=change)
    assert answer.status_code == 409
    assert "was changed meanwhile by admin" in answer.json["error"]
    mapping = {"group": "a", "role": "viewer"}
    version = admin.post(f"{PATH}/{entry['id']}/mappings", json=mapping).json["version"]
    assert version > entry["version"] + 1


WRONG = {
    "http": ({"issuer": "http://login.example.net"}, "issuer: must begin with https"),
    "a query": ({"issuer": "https://login.example.net?x=1"}, "issuer: must have no '?'"),
    "a user": ({"issuer": "https://us@login.example.net"}, "issuer: must be a URL of one host without a user"),
    "no URL": ({"issuer": "login.example.net"}, "issuer: must be a URL"),
    "another scheme": ({"issuer": "file:///etc/passwd"}, "issuer: must be a URL"),
    "no openid": ({"scopes": "profile email"}, "scopes: must be names"),
    "a quote in a scope": ({"scopes": 'openid "x'}, "scopes: must be names"),
    "an unknown role": ({"default_role": "emperor"}, "There is no role emperor"),
    "no user name": ({"username_claim": ""}, "username_claim:"),
    "a control character": ({"name": "a\x1bb"}, "name: must not contain control characters"),
}


@pytest.mark.parametrize(("members", "text"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_refused(admin: Api, members: dict[str, Any], text: str) -> None:
    answer = admin.post(PATH, json=ENTRY | members)
    assert answer.status_code == 422, answer.text
    assert answer.json["error"].startswith(text)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:9000"])
def test_http_is_for_this_host(admin: Api, host: str) -> None:
    assert create(admin, issuer=f"http://{host}")["issuer"] == f"http://{host}"


def test_the_address_of_the_discovery_document_is_taken_too(admin: Api) -> None:
    entry = create(admin, issuer="https://login.example.net/realms/a/.well-known/openid-configuration")
    assert entry["issuer"] == "https://login.example.net/realms/a"


def test_names_are_unique_and_providers_have_an_order(admin: Api) -> None:
    first, second = create(admin), create(admin, name="Second")
    assert admin.post(PATH, json=ENTRY | {"name": "EXAMPLE id"}).status_code == 409
    ids = [second["id"], first["id"]]
    items = admin.put(f"{PATH}/order", json={"ids": ids}).json["items"]
    assert [each["id"] for each in items] == ids
    assert admin.put(f"{PATH}/order", json={"ids": ids[:1]}).status_code == 409


def test_a_group_has_one_role(admin: Api) -> None:
    path = f"{PATH}/{create(admin)['id']}/mappings"
    assert admin.post(path, json={"group": "a", "role": "viewer"}).status_code == 201
    assert admin.post(path, json={"group": "a", "role": "operator"}).status_code == 409
    assert admin.post(path, json={"group": "b", "role": "emperor"}).status_code == 422
    assert admin.put(f"{path}/order", json={"ids": []}).status_code == 409
    assert admin.delete(f"{path}/{create(admin, name='x')['id']}").status_code == 404


def test_nobody_gives_more_than_they_have(admin: Api, helper: Api, add_user: Any) -> None:
    own = create(helper, name="Own", default_role="operator")
    path = f"{PATH}/{own['id']}"
    assert helper.post(f"{path}/mappings", json={"group": "all", "role": "admin"}).status_code == 403
    assert helper.post(f"{path}/mappings", json={"group": "all", "role": "viewer"}).status_code == 201
    assert helper.post(PATH, json=ENTRY | {"default_role": "admin"}).status_code == 403
    assert helper.post(f"{path}/links", json={"username": "admin", "subject": "me"}).status_code == 403
    assert admin.post(f"{path}/links", json={"username": "admin", "subject": "boss"}).status_code == 201
    [link] = helper.get(f"{path}/links").json["items"]
    assert helper.delete(f"{path}/links/{link['id']}").status_code == 403


def test_a_provider_that_gives_more_is_changed_by_those_who_have_it(admin: Api, helper: Api) -> None:
    entry = create(admin)
    path = f"{PATH}/{entry['id']}"
    entry = admin.post(f"{path}/mappings", json={"group": "all", "role": "admin"}).json
    evil = ENTRY | {"issuer": "https://evil.example", "version": entry["version"]}
    assert helper.put(path, json=evil).status_code == 403
    assert helper.delete(f"{path}/mappings/{entry['mappings'][0]['id']}").status_code == 403
    assert helper.put(f"{path}/mappings/order", json={"ids": [entry["mappings"][0]["id"]]}).status_code == 403


def test_a_test_says_in_words_what_is_wrong(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    entry = create(admin, issuer="http://127.0.0.1:1")
    assert admin.post(f"{PATH}/{entry['id']}/test").json == {"ok": False, "text": "It refuses connections."}
    [row] = audited("identity_provider.tested")
    assert row["details"] == {"name": "Example ID", "ok": False}


def test_a_link_names_a_user(admin: Api, add_user: Any) -> None:
    path = f"{PATH}/{create(admin)['id']}/links"
    answer = admin.post(path, json={"username": "ghost", "subject": "x"})
    assert (answer.status_code, answer.json["error"]) == (422, "username: there is no user ghost")


def test_every_change_is_audited(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    entry = create(admin)
    path = f"{PATH}/{entry['id']}"
    mapping = admin.post(f"{path}/mappings", json={"group": "a", "role": "viewer"}).json["mappings"][0]
    admin.put(f"{path}/mappings/order", json={"ids": [mapping["id"]]})
    admin.delete(f"{path}/mappings/{mapping['id']}")
    version = admin.get(path).json["version"]
    admin.put(path, json={**ENTRY, "enabled": False, "version": version})
    admin.put(f"{PATH}/order", json={"ids": [entry["id"]]})
    admin.delete(path)
    events = [row["event"].removeprefix("identity_provider.") for row in audited("identity_provider.*")]
    assert events == [
        "created",
        "mapping_added",
        "mappings_reordered",
        "mapping_removed",
        "updated",
        "reordered",
        "deleted",
    ]


@pytest.fixture
def linked(admin: Api, add_user: Any) -> dict[str, Any]:
    """A provider that gives no role, by which an administrator logs in."""
    entry = create(admin)
    add_user("boss", role="admin")
    body = {"username": "boss", "subject": "user-1"}
    assert admin.post(f"{PATH}/{entry['id']}/links", json=body).status_code == 201
    return entry


EVIL = (
    {"client_id": "evil"},
    {"issuer": "https://evil.example", "client_secret": "evil"},
    {"origins": ["https://evil.example"]},
    {"client_secret": "evil"},
    {"enabled": False},
)


@pytest.mark.parametrize("members", EVIL, ids=[next(iter(each)) for each in EVIL])
def test_a_provider_with_a_user_who_has_more_is_changed_by_those_who_have_it(
    helper: Api, admin: Api, linked: dict[str, Any], members: dict[str, Any]
) -> None:
    change = ENTRY | {"version": linked["version"]} | members
    answer = helper.put(f"{PATH}/{linked['id']}", json=change)
    assert answer.status_code == 403
    assert "The role admin has" in answer.json["error"]
    assert admin.put(f"{PATH}/{linked['id']}", json=change).status_code == 200


def test_a_provider_that_gives_more_is_neither_deleted_nor_moved_nor_mapped_by_others(
    helper: Api, admin: Api, linked: dict[str, Any]
) -> None:
    giving = create(admin, name="Giving", default_role="admin")
    own = create(helper, name="Own")
    last = create(helper, name="Last")
    for entry in (linked, giving):
        path = f"{PATH}/{entry['id']}"
        assert helper.delete(path).status_code == 403
        assert helper.post(f"{path}/mappings", json={"group": "all", "role": "viewer"}).status_code == 403
        assert helper.post(f"{path}/links", json={"username": "helper", "subject": "user-2"}).status_code == 403
    ids = [each["id"] for each in (linked, giving, own, last)]
    assert helper.put(f"{PATH}/order", json={"ids": [ids[2], *ids[:2], ids[3]]}).status_code == 403
    # Those that give more stay where they are.
    assert helper.put(f"{PATH}/order", json={"ids": [*ids[:2], ids[3], ids[2]]}).status_code == 200
    assert helper.delete(f"{PATH}/{own['id']}").status_code == 204


def test_a_provider_has_the_address_of_the_page_until_others_are_entered(admin: Api, page: Api) -> None:
    body = ENTRY | {"name": "Of a page"}
    entry = page.post(PATH, json=body).json
    assert entry["origins"] == ["http://localhost"]
    assert entry["redirect_uris"] == [f"http://localhost/api/auth/sso/{entry['id']}/callback"]
    assert entry["logout_uris"] == ["http://localhost/login"]
    foreign = admin.post(PATH, json=ENTRY, headers={"Origin": "null"}).json
    assert foreign["origins"] == ["http://localhost"]
    change = body | {"version": entry["version"], "origins": ["https://A.example:443/", " https://a.example "]}
    entry = admin.put(f"{PATH}/{entry['id']}", json=change).json
    assert entry["origins"] == ["https://a.example"]
    entry = admin.put(f"{PATH}/{entry['id']}", json=body | {"version": entry["version"]}).json
    assert entry["origins"] == ["https://a.example"]


@pytest.mark.parametrize("origins", [[], ["null"], ["https://a.example/path"], ["a.example"], ["javascript://a"]])
def test_addresses_are_origins(admin: Api, origins: list[str]) -> None:
    answer = admin.post(PATH, json=ENTRY | {"origins": origins})
    assert answer.status_code == 422
    assert answer.json["error"].startswith("origins")


@pytest.fixture
def only_external(admin: Api, linked: dict[str, Any], database: Database) -> dict[str, Any]:
    """The provider, by which alone administrators log in from now on."""
    with database.transaction() as tx:
        tx.execute("UPDATE users SET auth_provider = 'oidc' WHERE role = 'admin'")
    return linked


def test_the_last_way_in_for_administrators_stays(admin: Api, only_external: dict[str, Any]) -> None:
    path = f"{PATH}/{only_external['id']}"
    [link] = admin.get(f"{path}/links").json["items"]
    off = ENTRY | {"version": only_external["version"], "enabled": False}
    for answer in (admin.delete(path), admin.put(path, json=off), admin.delete(f"{path}/links/{link['id']}")):
        assert answer.status_code == 409, answer.text
        assert "a way to log in" in answer.json["error"]
