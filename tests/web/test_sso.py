"""Log-in by single sign-on, in process, at a real provider on its own port: what is accepted, and what is refused."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from netstacks.store import audit, external_identities, identity_providers, users
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.store.vault import Vault
from netstacks.web.auth.oidc_flow import CodeExchange
from netstacks.web.auth.parts import auth_parts
from netstacks.web.context import Services
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider
from tests.web.conftest import MASTER_KEY, PASSWORD, Api

ORIGIN = {"Origin": "http://localhost"}
PATH = "/api/v1/identity-providers"


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
def entry(admin: Api, provider: OidcProvider) -> dict[str, Any]:
    """The provider, as an administrator has entered it, with two groups that have a role."""
    body = {"name": "Example ID", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    answer = admin.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    for group, role in (("network-admins", "admin"), ("network-operators", "operator")):
        path = f"{PATH}/{answer.json['id']}/mappings"
        assert admin.post(path, json={"group": group, "role": role}).status_code == 201
    found: dict[str, Any] = admin.get(f"{PATH}/{answer.json['id']}").json
    return found


@pytest.fixture
def client(app: Flask, entry: dict[str, Any]) -> FlaskClient:
    """A browser."""
    return app.test_client()


def change(admin: Api, entry: dict[str, Any], **members: Any) -> None:
    path = f"{PATH}/{entry['id']}"
    version = admin.get(path).json["version"]
    answer = admin.put(path, json={**entry, "version": version, **members})
    assert answer.status_code == 200, answer.text


def begin(client: FlaskClient, entry: dict[str, Any], next_path: str = "/sessions") -> str:
    """The address at the provider, where the log-in page sends the browser."""
    answer = client.post(f"/api/auth/sso/{entry['id']}/start", json={"next": next_path}, headers=ORIGIN)
    assert answer.status_code == 200, answer.text
    location: str = answer.json["location"]
    return location


def at_provider(location: str) -> str:
    """What the browser does at the provider; the path on our site that it comes back to."""
    answer = requests.get(location, allow_redirects=False, timeout=10)
    return answer.headers["Location"].removeprefix("http://localhost")


def log_in(client: FlaskClient, entry: dict[str, Any]) -> str:
    """A whole log-in: where it leads."""
    return client.get(at_provider(begin(client, entry))).location


def refused(client: FlaskClient, entry: dict[str, Any]) -> str:
    """A log-in that is refused: the sentence that the log-in page shows."""
    location = log_in(client, entry)
    assert location == "/login?next=/sessions&sso=refused"
    assert client.get("/api/auth/me").status_code == 401
    return told(client)


def told(client: FlaskClient) -> str:
    text: str = client.get("/api/auth/sso/refusal").json["error"]
    assert client.get("/api/auth/sso/refusal").json["error"] is None
    return text


def me(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/api/auth/me")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_a_log_in_creates_the_user_with_the_role_of_the_group(
    client: FlaskClient, entry: dict[str, Any], audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    assert log_in(client, entry) == "/sessions"
    user = me(client)
    assert (user["username"], user["email"], user["role"]) == ("lee", "lee@example.net", "operator")
    assert (user["display_name"], user["auth_provider"]) == ("Lee Example", "oidc")
    [*_, row] = audited("auth.login")
    assert row["details"] == {"client_type": "page", "provider": "Example ID"}
    assert row["actor"] == "lee"


def test_the_browser_goes_to_the_provider_with_pkce_state_and_nonce(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    url = urlsplit(begin(client, entry))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/authorize"
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == f"http://localhost/api/auth/sso/{entry['id']}/callback"
    assert query["scope"] == "openid profile email"
    assert len(query["state"]) >= 32
    assert len(query["nonce"]) >= 32
    assert len(query["code_challenge"]) == 43


def test_the_cookie_of_a_log_in_shows_neither_verifier_nor_nonce(client: FlaskClient, entry: dict[str, Any]) -> None:
    query = parse_qs(urlsplit(begin(client, entry)).query)
    cookie = client.get_cookie("netstacks_sso")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.same_site == "Lax"
    text = cookie.value.partition(".")[0]
    content = base64.urlsafe_b64decode(text + "==").decode()
    assert query["state"][0] in content
    assert query["nonce"][0] not in content


def test_the_next_log_in_is_of_the_same_user_with_the_facts_of_the_day(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    log_in(client, entry)
    first = me(client)
    provider.user |= {"email": "lee@new.example", "name": "Lee New", "groups": ["network-admins"]}
    provider.user["preferred_username"] = "renamed"
    log_in(client, entry)
    second = me(client)
    assert (second["id"], second["username"]) == (first["id"], "lee")
    assert (second["email"], second["display_name"], second["role"]) == ("lee@new.example", "Lee New", "admin")


def test_the_first_mapping_in_order_decides(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api
) -> None:
    provider.user["groups"] = ["network-operators", "network-admins"]
    log_in(client, entry)
    assert me(client)["role"] == "admin"
    ids = [each["id"] for each in entry["mappings"]][::-1]
    assert admin.put(f"{PATH}/{entry['id']}/mappings/order", json={"ids": ids}).status_code == 200
    log_in(client, entry)
    assert me(client)["role"] == "operator"


def test_without_a_mapped_group_the_default_role_counts(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api
) -> None:
    provider.user["groups"] = ["kitchen"]
    change(admin, entry, default_role="viewer")
    log_in(client, entry)
    assert me(client)["role"] == "viewer"


def test_a_new_user_without_a_role_is_refused_and_not_created(
    client: FlaskClient,
    entry: dict[str, Any],
    provider: OidcProvider,
    admin: Api,
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    provider.user["groups"] = "kitchen"
    assert "None of your groups at Example ID has a role" in refused(client, entry)
    assert [each["username"] for each in admin.get("/api/users").json["items"]] == ["admin"]
    [row] = audited("auth.refused")
    assert row["details"] == {"reason": "no_role", "provider": "Example ID", "subject": "user-1"}


def test_a_user_who_has_lost_the_groups_is_refused_and_logged_out_everywhere(
    app: Flask, client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    log_in(client, entry)
    provider.user["groups"] = []
    assert "None of your groups" in refused(app.test_client(), entry)
    assert client.get("/api/auth/me").status_code == 401


def test_a_deactivated_user_is_refused(app: Flask, client: FlaskClient, entry: dict[str, Any], admin: Api) -> None:
    log_in(client, entry)
    user = me(client)
    body = {"role": "operator", "email": None, "display_name": None, "is_active": False}
    assert admin.put(f"/api/users/{user['id']}", json=body).status_code == 200
    assert "deactivated" in refused(app.test_client(), entry)


def test_a_user_of_single_sign_on_has_no_password(
    app: Flask, client: FlaskClient, entry: dict[str, Any], admin: Api
) -> None:
    log_in(client, entry)
    user = me(client)
    answer = admin.put(f"/api/users/{user['id']}/password", json={"password": "several quite long words"})
    assert answer.status_code == 409
    assert "single sign-on" in answer.json["error"]
    for password in ("", "x", PASSWORD):
        body = {"username": "lee", "password": password}
        assert app.test_client().post("/api/auth/login", json=body).status_code == 401


@pytest.mark.parametrize(
    "local", [{"username": "lee"}, {"username": "else", "email": "LEE@example.net"}, {"username": "lee@example.net"}]
)
def test_an_equal_name_or_address_takes_over_nobody(
    client: FlaskClient, entry: dict[str, Any], add_user: Callable[..., User], local: dict[str, str]
) -> None:
    add_user(**local)
    assert "An administrator can link" in refused(client, entry)


def test_an_address_that_another_user_has_is_not_taken_later(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, add_user: Callable[..., User]
) -> None:
    log_in(client, entry)
    add_user("boss", email="boss@example.net")
    provider.user["email"] = "boss@example.net"
    log_in(client, entry)
    assert me(client)["email"] == "lee@example.net"


def test_an_unverified_address_is_not_taken(client: FlaskClient, entry: dict[str, Any], provider: OidcProvider) -> None:
    provider.user["email_verified"] = False
    log_in(client, entry)
    assert me(client)["email"] is None


def test_an_administrator_links_a_local_user_who_keeps_role_and_password(
    app: Flask, client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api, add_user: Any
) -> None:
    add_user("lee", role="viewer")
    link = admin.post(f"{PATH}/{entry['id']}/links", json={"username": "lee", "subject": "user-1"})
    assert link.status_code == 201, link.text
    provider.user["groups"] = ["network-admins"]
    log_in(client, entry)
    assert (me(client)["role"], me(client)["auth_provider"]) == ("viewer", "local")
    body = {"username": "lee", "password": PASSWORD}
    assert app.test_client().post("/api/auth/login", json=body).status_code == 200
    assert admin.delete(f"{PATH}/{entry['id']}/links/{link.json['id']}").status_code == 204
    assert client.get("/api/auth/me").status_code == 401
    assert "An administrator can link" in refused(client, entry)


def test_one_subject_is_one_user(admin: Api, entry: dict[str, Any], add_user: Any) -> None:
    add_user("lee")
    add_user("kim")
    path = f"{PATH}/{entry['id']}/links"
    assert admin.post(path, json={"username": "lee", "subject": "user-1"}).status_code == 201
    assert admin.post(path, json={"username": "kim", "subject": "user-1"}).status_code == 409


def test_the_last_administrator_does_not_become_another(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api, database: Database
) -> None:
    provider.user["groups"] = ["network-admins"]
    log_in(client, entry)
    with database.transaction() as tx:
        users.update(tx, admin.user_id, email=None, display_name=None, role="viewer", is_active=True, by="ann")
    provider.user["groups"] = ["network-operators"]
    log_in(client, entry)
    assert "last active administrator" in told(client)
    assert me(client)["role"] == "admin"


WRONG_CLAIMS = {
    "another audience": ({"aud": "someone-else"}, "another application (aud)"),
    "several audiences without azp": ({"aud": ["other"]}, "another application (aud)"),
    "another authorised party": ({"aud": [CLIENT_ID, "other"], "azp": "other"}, "another application (azp)"),
    "another issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "expired": ({"exp": -61}, "has expired"),
    "issued in the future": ({"iat": 90}, "from the future"),
    "not valid yet": ({"nbf": 90}, "not valid yet"),
    "another nonce": ({"nonce": "x"}, "another log-in (nonce)"),
    "no nonce": ({"nonce": None}, "another log-in (nonce)"),
    "another access token": ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "another access token"),
    "no subject": ({"sub": None}, "names no subject"),
    "an empty subject": ({"sub": ""}, "names no subject"),
    "a number as subject": ({"sub": 5}, "names no subject"),
    "a list as subject": ({"sub": ["user-1"]}, "names no subject"),
    "a subject that is too long": ({"sub": 256 * "x"}, "names no subject"),
    "a subject with NUL": ({"sub": "user\0"}, "names no subject"),
    "a subject with half a surrogate pair": ({"sub": "user\ud800"}, "names no subject"),
    "no expiry": ({"exp": None}, "has expired"),
    "a text as expiry": ({"exp": "tomorrow"}, "has expired"),
}


def shifted(claims: dict[str, Any]) -> dict[str, Any]:
    """The claims, with numbers as seconds from now."""
    return {name: int(time.time()) + value if isinstance(value, int) else value for name, value in claims.items()}


@pytest.mark.parametrize(("claims", "text"), WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
def test_a_wrong_id_token_is_refused_and_named(
    client: FlaskClient,
    entry: dict[str, Any],
    provider: OidcProvider,
    audited: Callable[[str], list[dict[str, Any]]],
    claims: dict[str, Any],
    text: str,
) -> None:
    provider.claims = shifted(claims)
    assert text in refused(client, entry)
    assert [row["details"]["reason"] for row in audited("auth.refused")] == ["invalid_id_token"]


@pytest.mark.parametrize("claims", [{"exp": -45}, {"iat": 45}, {"nbf": 45}])
def test_clocks_may_differ_by_a_minute(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, claims: dict[str, Any]
) -> None:
    provider.claims = shifted(claims)
    assert log_in(client, entry) == "/sessions"


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_algorithm_that_anyone_can_sign_with_is_refused(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, algorithm: str
) -> None:
    provider.signs = algorithm
    assert "its signature algorithm is not one of" in refused(client, entry)


def test_a_signature_of_another_key_with_the_same_id_is_refused(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    log_in(client, entry)
    client.post("/api/auth/logout", headers=ORIGIN | {"X-CSRF-Token": client.get("/csrf-token").json["csrf_token"]})
    kid = provider.keys[0].kid
    provider.rotate()
    key = provider.keys[0].as_dict(private=True) | {"kid": kid}
    provider.keys = [type(provider.keys[0]).import_key(key)]
    assert "its signature is wrong" in refused(client, entry)


def test_keys_may_be_changed_but_an_unknown_one_is_looked_up_once_a_minute(
    app: Flask, client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    log_in(client, entry)
    with app.app_context():
        [known] = auth_parts().oidc._known.values()
    known.keys_at -= 61
    provider.rotate()
    assert log_in(client, entry) == "/sessions"
    assert provider.count("/keys") == 2
    provider.rotate()
    assert "a key that it does not publish" in told_after(client, entry)
    assert provider.count("/keys") == 2


def told_after(client: FlaskClient, entry: dict[str, Any]) -> str:
    log_in(client, entry)
    return told(client)


def test_discovery_and_keys_are_read_once(client: FlaskClient, entry: dict[str, Any], provider: OidcProvider) -> None:
    for _ in range(3):
        log_in(client, entry)
    assert (provider.count("/.well-known/openid-configuration"), provider.count("/keys")) == (1, 1)


def test_a_callback_without_the_browsers_cookie_is_refused(
    app: Flask, client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    """Log-in CSRF: an attacker has another browser finish the attacker's log-in."""
    back = at_provider(begin(client, entry))
    victim = app.test_client()
    assert victim.get(back).location == "/login?sso=refused"
    assert "was not begun in this browser" in told(victim)
    assert victim.get("/api/auth/me").status_code == 401
    assert provider.count("/token") == 0


def test_a_state_of_another_log_in_is_refused(client: FlaskClient, entry: dict[str, Any]) -> None:
    first = at_provider(begin(client, entry))
    begin(client, entry)
    client.get(first)
    assert "was not begun in this browser" in told(client)


def test_a_callback_counts_once(app: Flask, client: FlaskClient, entry: dict[str, Any]) -> None:
    location = begin(client, entry)
    cookie = client.get_cookie("netstacks_sso")
    assert cookie is not None
    back = at_provider(location)
    assert client.get(back).location == "/sessions"
    assert client.get_cookie("netstacks_sso") is None
    thief = app.test_client()
    assert thief.get(back).location == "/login?sso=refused"
    thief.set_cookie("netstacks_sso", cookie.value)
    thief.get(back)
    assert "refused the code of this log-in (invalid_grant)" in told(thief)


@pytest.mark.parametrize("change_of", [lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), lambda text: "x"])
def test_a_forged_cookie_is_refused(
    client: FlaskClient, entry: dict[str, Any], change_of: Callable[[str], str]
) -> None:
    back = at_provider(begin(client, entry))
    cookie = client.get_cookie("netstacks_sso")
    assert cookie is not None
    client.set_cookie("netstacks_sso", change_of(cookie.value))
    client.get(back)
    assert "was not begun in this browser" in told(client)


def test_no_other_site_begins_a_log_in(client: FlaskClient, entry: dict[str, Any]) -> None:
    path = f"/api/auth/sso/{entry['id']}/start"
    assert client.post(path, json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post(path, json={}).status_code == 403


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/" + "x" * 4000])
def test_a_log_in_leads_to_no_other_site(client: FlaskClient, entry: dict[str, Any], target: str) -> None:
    assert client.get(at_provider(begin(client, entry, target))).location == "/"


def test_nobody_makes_the_log_in_page_show_a_text(client: FlaskClient, entry: dict[str, Any]) -> None:
    text = base64.urlsafe_b64encode(json.dumps({"text": "Call 0800"}).encode()).decode()
    client.set_cookie("netstacks_sso_refusal", f"{text}.{'0' * 64}")
    assert client.get("/api/auth/sso/refusal").json == {"error": None}


def test_the_provider_may_refuse(client: FlaskClient, entry: dict[str, Any], provider: OidcProvider) -> None:
    provider.authorization_error = "access_denied"
    assert "cancelled or refused at Example ID" in refused(client, entry)
    provider.authorization_error = "<script>"
    assert refused(client, entry) == "Example ID refused the log-in."


def test_an_answer_in_the_name_of_another_issuer_is_refused(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    for issuer in ("https://evil.example", ""):
        provider.authorization_issuer = issuer
        assert "from another identity provider" in refused(client, entry)
    provider.authorization_issuer = provider.issuer
    assert log_in(client, entry) == "/sessions"


def test_a_promised_issuer_must_come(client: FlaskClient, entry: dict[str, Any], provider: OidcProvider) -> None:
    provider.discovery = {"authorization_response_iss_parameter_supported": True}
    assert "from another identity provider" in refused(client, entry)


def test_groups_may_come_from_userinfo_or_from_a_path(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api
) -> None:
    provider.userinfo_only = {"groups", "email"}
    log_in(client, entry)
    assert (me(client)["role"], me(client)["email"]) == ("operator", "lee@example.net")
    change(admin, entry, groups_claim="realm_access.roles")
    provider.user["realm_access"] = {"roles": ["network-admins"]}
    log_in(client, entry)
    assert me(client)["role"] == "admin"


def test_facts_about_another_user_are_refused(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    provider.userinfo_only = {"groups"}
    provider.userinfo_sub = "user-2"
    assert "facts about another user" in refused(client, entry)


@pytest.mark.parametrize("name", [None, 7, "", "x" * 65, "two words", "\x1b[2J", "a\ud800"])
def test_an_unusable_user_name_is_refused(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, name: Any
) -> None:
    provider.user["preferred_username"] = name
    assert "user name" in refused(client, entry)


@pytest.mark.parametrize("groups", [None, 7, {"network-admins": True}, [["network-admins"], None]])
def test_groups_of_another_form_are_none(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, groups: Any
) -> None:
    provider.user["groups"] = groups
    assert "None of your groups" in refused(client, entry)


def test_a_secret_may_be_posted_and_a_public_client_has_none(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api
) -> None:
    provider.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert log_in(client, entry) == "/sessions"
    provider.client_secret = None
    change(admin, entry, client_secret=None)
    assert log_in(client, entry) == "/sessions"


def test_a_wrong_client_secret_is_named(client: FlaskClient, entry: dict[str, Any], provider: OidcProvider) -> None:
    provider.client_secret = "another"
    assert "(invalid_client)" in refused(client, entry)


FAULTS = {
    "huge": "larger than 512 KiB",
    "html": "text/html in place of a JSON object",
    "array": "application/json in place of a JSON object",
    "error": "answered 503",
    "redirect": "redirect (302), which is not followed",
    "drip": "did not answer within",
    "hang": "did not answer within",
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit that a test can wait for."""
    monkeypatch.setattr("netstacks.web.auth.oidc_http.TOTAL_SECS", 1.0)


@pytest.mark.parametrize(("fault", "text"), FAULTS.items(), ids=FAULTS)
@pytest.mark.parametrize("path", ["/token", "/keys"])
@pytest.mark.usefixtures("impatient")
def test_a_fault_of_the_provider_is_told_in_a_sentence(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, path: str, fault: str, text: str
) -> None:
    provider.faults[path] = fault
    said = refused(client, entry)
    assert said.startswith("Example ID cannot be used for the log-in now. It")
    assert text in said


@pytest.mark.parametrize(("fault", "text"), FAULTS.items(), ids=FAULTS)
@pytest.mark.usefixtures("impatient")
def test_a_fault_of_discovery_is_told_before_the_browser_goes_there(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, fault: str, text: str
) -> None:
    provider.faults["/.well-known/openid-configuration"] = fault
    answer = client.post(f"/api/auth/sso/{entry['id']}/start", json={}, headers=ORIGIN)
    assert answer.status_code == 502
    assert text in answer.json["error"]


WRONG_DOCUMENTS = {
    "another issuer": ({"issuer": "https://evil.example"}, "names another issuer as https://evil.example"),
    "no PKCE": ({"code_challenge_methods_supported": ["plain"]}, "does not support PKCE"),
    "an endpoint over http": ({"token_endpoint": "http://login.example/token"}, "Its token_endpoint must begin with"),
    "no endpoint": ({"jwks_uri": None}, "Its jwks_uri"),
    "an endpoint of another scheme": ({"authorization_endpoint": "javascript:x"}, "Its authorization_endpoint"),
}


@pytest.mark.parametrize(("document", "text"), WRONG_DOCUMENTS.values(), ids=WRONG_DOCUMENTS)
def test_a_wrong_discovery_document_is_refused(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, document: dict[str, Any], text: str
) -> None:
    provider.discovery = document
    answer = client.post(f"/api/auth/sso/{entry['id']}/start", json={}, headers=ORIGIN)
    assert answer.status_code == 502
    assert text in answer.json["error"]


def test_a_provider_without_keys_is_refused(client: FlaskClient, entry: dict[str, Any], provider: OidcProvider) -> None:
    provider.publishes_keys = False
    assert "publishes no key" in refused(client, entry)


def test_the_log_in_page_learns_that_a_provider_is_down_and_that_it_is_back(
    app: Flask, client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    def told_by_list() -> str | None:
        with app.app_context():
            for known in auth_parts().oidc._known.values():
                known.asked_at -= 60
                known.metadata_at -= 60
        local, external = client.get("/api/auth/providers").json
        assert (local["type"], external["type"], external["name"]) == ("local", "oidc", "Example ID")
        problem: str | None = external["problem"]
        return problem

    assert told_by_list() is None
    provider.faults["/.well-known/openid-configuration"] = "error"
    assert told_by_list() == "It answered 503."
    body = {"username": "admin", "password": PASSWORD}
    assert client.post("/api/auth/login", json=body).status_code == 200
    provider.faults.clear()
    assert told_by_list() is None


def test_a_disabled_provider_is_not_offered_and_finishes_no_log_in(
    client: FlaskClient, entry: dict[str, Any], admin: Api
) -> None:
    back = at_provider(begin(client, entry))
    change(admin, entry, enabled=False)
    client.get(back)
    assert "was switched off" in told(client)
    assert [each["type"] for each in client.get("/api/auth/providers").json] == ["local"]
    assert client.post(f"/api/auth/sso/{entry['id']}/start", json={}, headers=ORIGIN).status_code == 404


def test_many_refused_codes_of_one_address_have_to_wait_until_one_is_good(
    app: Flask, client: FlaskClient, entry: dict[str, Any], provider: OidcProvider
) -> None:
    for _ in range(10):
        begin(client, entry)
        state = json.loads(base64.urlsafe_b64decode(cookie_text(client) + "=="))["state"]
        client.get(f"/api/auth/sso/{entry['id']}/callback?code=guess&state={state}")
        assert "invalid_grant" in told(client)
    asked = provider.count("/token")
    assert "Too many log-ins with Example ID" in refused(client, entry)
    assert provider.count("/token") == asked


def cookie_text(client: FlaskClient) -> str:
    cookie = client.get_cookie("netstacks_sso")
    assert cookie is not None
    return cookie.value.partition(".")[0]


def test_a_log_out_leads_to_that_of_the_provider(client: FlaskClient, entry: dict[str, Any], page: Api) -> None:
    log_in(client, entry)
    headers = ORIGIN | {"X-CSRF-Token": client.get("/csrf-token").json["csrf_token"]}
    url = urlsplit(client.post("/api/auth/logout", headers=headers).json["end_session_url"])
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{entry['issuer']}/end-session"
    assert parse_qs(url.query) == {"client_id": [CLIENT_ID], "post_logout_redirect_uri": ["http://localhost/login"]}
    assert client.get("/api/auth/me").status_code == 401
    assert page.post("/api/auth/logout").json["end_session_url"] is None


def test_the_client_secret_lies_in_the_vault_and_survives_a_change_of_the_key(
    database: Database, entry: dict[str, Any], services: Services
) -> None:
    with database.transaction() as tx:
        provider = identity_providers.find(tx, UUID(entry["id"]))
        assert identity_providers.secret_of(tx, services.vault, provider) == CLIENT_SECRET
    new = Vault(database, "7a" * 32, MASTER_KEY)
    new.rotate(audit.SYSTEM)
    with database.transaction() as tx:
        assert identity_providers.secret_of(tx, Vault(database, "7a" * 32), provider) == CLIENT_SECRET


def test_the_users_of_a_provider_outlive_its_entry_but_not_their_identities(
    client: FlaskClient, entry: dict[str, Any], admin: Api, database: Database
) -> None:
    log_in(client, entry)
    user = me(client)
    assert admin.delete(f"{PATH}/{entry['id']}").status_code == 204
    with database.transaction() as tx:
        assert users.get(tx, UUID(user["id"])).username == "lee"
        assert external_identities.user_of(tx, UUID(entry["id"]), "user-1") is None
        assert tx.execute("SELECT count(*) AS n FROM vault_secrets").fetchone()["n"] == 0  # type: ignore[index]


def test_a_provider_of_the_same_issuer_logs_in_none_of_the_users_of_another(
    client: FlaskClient, entry: dict[str, Any], provider: OidcProvider, admin: Api, add_user: Any
) -> None:
    """Else the permission sso.manage alone, and a client at the same provider, would give the log-in of every user."""
    add_user("boss", role="admin")
    body = {"username": "boss", "subject": "user-1"}
    assert admin.post(f"{PATH}/{entry['id']}/links", json=body).status_code == 201
    second = {"name": "Second", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    other = admin.post(PATH, json=second | {"default_role": "viewer"}).json
    assert log_in(client, other) == "/sessions"
    assert (me(client)["username"], me(client)["role"]) == ("lee", "viewer")
    assert admin.get(f"{PATH}/{other['id']}/links").json["items"] == []
    log_in(client, entry)
    assert me(client)["username"] == "boss"


def start_at(client: FlaskClient, entry: dict[str, Any], origin: str) -> Any:
    """The start of a log-in at another address of this controller, or by a client that writes any header Host."""
    path = f"/api/auth/sso/{entry['id']}/start"
    return client.post(path, json={}, headers={"Origin": origin}, base_url=origin)


def test_the_provider_sends_users_back_to_confirmed_addresses_alone(
    client: FlaskClient, entry: dict[str, Any], admin: Api
) -> None:
    refused = start_at(client, entry, "https://attacker.example")
    assert refused.status_code == 403
    assert refused.json["error"].startswith(
        "Log-in with Example ID does not work at the address https://attacker.example. An administrator can add it"
    )
    change(admin, entry, origins=["http://localhost", "https://second.example:8443"])
    query = parse_qs(urlsplit(start_at(client, entry, "https://second.example:8443").json["location"]).query)
    assert query["redirect_uri"] == [f"https://second.example:8443/api/auth/sso/{entry['id']}/callback"]
    assert log_in(client, entry) == "/sessions"


def test_a_log_in_at_an_address_that_is_removed_meanwhile_is_refused(
    client: FlaskClient, entry: dict[str, Any], admin: Api, provider: OidcProvider
) -> None:
    back = at_provider(begin(client, entry))
    change(admin, entry, origins=["https://second.example"])
    client.get(back)
    assert "This address was removed from those of Example ID" in told(client)
    assert provider.count("/token") == 0


def test_a_log_in_at_a_provider_that_is_removed_meanwhile_is_refused(
    client: FlaskClient, entry: dict[str, Any], admin: Api, provider: OidcProvider
) -> None:
    back = at_provider(begin(client, entry))
    assert admin.delete(f"{PATH}/{entry['id']}").status_code == 204
    assert client.get(back).location == "/login?next=/sessions&sso=refused"
    assert told(client) == "The identity provider of this log-in was removed from this controller."
    assert provider.count("/token") == 0


@pytest.mark.parametrize("is_known", [False, True], ids=["a new user", "a known user"])
@pytest.mark.parametrize(
    ("change_it", "text"),
    [
        (lambda admin, entry: admin.delete(f"{PATH}/{entry['id']}"), "was removed from this controller"),
        (lambda admin, entry: change(admin, entry, enabled=False), "Log-in with Example ID was switched off"),
    ],
    ids=["removed", "switched off"],
)
def test_a_provider_that_is_changed_while_its_code_is_exchanged_logs_in_no_user(
    client: FlaskClient,
    entry: dict[str, Any],
    admin: Api,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    change_it: Callable[[Api, dict[str, Any]], Any],
    text: str,
    is_known: bool,
) -> None:
    if is_known:
        assert log_in(client, entry) == "/sessions"
        client.delete_cookie("netstacks_page")
    exchange = CodeExchange.claims

    def claims(self: CodeExchange, code: str, issuer: str | None) -> dict[str, Any]:
        found = exchange(self, code, issuer)
        change_it(admin, entry)
        return found

    monkeypatch.setattr(CodeExchange, "claims", claims)
    with database.transaction() as tx:
        before = len(users.list_all(tx))
    assert text in refused(client, entry)
    with database.transaction() as tx:
        assert len(users.list_all(tx)) == before


def test_the_answer_of_one_provider_is_not_taken_for_that_of_another(
    client: FlaskClient, entry: dict[str, Any], admin: Api, provider: OidcProvider
) -> None:
    """Mix-up (RFC 9700, section 4.4): another provider sends the code of this one to its own callback."""
    second = {"name": "Second", "issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    other = admin.post(PATH, json=second).json
    back = at_provider(begin(client, entry))
    assert entry["id"] in back
    client.get(back.replace(entry["id"], other["id"]))
    assert "was not begun in this browser" in told(client)
    assert provider.count("/token") == 0


def test_a_log_out_leads_back_to_a_confirmed_address_alone(
    client: FlaskClient, entry: dict[str, Any], admin: Api
) -> None:
    log_in(client, entry)
    change(admin, entry, origins=["https://second.example"])
    headers = ORIGIN | {"X-CSRF-Token": client.get("/csrf-token").json["csrf_token"]}
    url = urlsplit(client.post("/api/auth/logout", headers=headers).json["end_session_url"])
    assert parse_qs(url.query) == {"client_id": [CLIENT_ID]}


def test_a_new_role_with_a_limited_scope_ends_the_sessions_beyond_it(
    client: FlaskClient,
    entry: dict[str, Any],
    provider: OidcProvider,
    admin: Api,
    database: Database,
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    limited = {"name": "lab", "description": "", "permissions": ["sessions.connect"], "device_sites": []}
    answer = admin.post("/api/v1/roles", json=limited | {"device_tags": ["lab"]})
    assert answer.status_code == 201, answer.text
    assert admin.post(f"{PATH}/{entry['id']}/mappings", json={"group": "lab", "role": "lab"}).status_code == 201
    log_in(client, entry)
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO sessions (id, user_id, username, device_name, host, port, term, cols, rows, epoch, state,"
            " reconnect_hash) VALUES (gen_random_uuid(), %s, 'lee', 'r1', '192.0.2.1', 22, 'xterm', 80, 24, 1,"
            " 'detached', 'x')",
            [me(client)["id"]],
        )
    provider.user["groups"] = ["lab"]
    log_in(client, entry)
    assert me(client)["role"] == "lab"
    with database.transaction() as tx:
        assert tx.execute("SELECT state FROM sessions").fetchone() == {"state": "ended"}
    [row] = audited("session.ended_by_user")
    assert (row["actor"], row["details"]) == ("lee", {"owner": "lee", "reason": "access was withdrawn"})
