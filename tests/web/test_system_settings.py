"""System settings through the API: their values, who changed them, two administrators at once, the environment."""

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from netstacks.errors import Conflict
from netstacks.instance.current_settings import CurrentSettings, of_environment
from netstacks.permissions import Role
from netstacks.settings import Settings
from netstacks.store import audit, roles, system_settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import IDLE_MINUTES, MAIL_PASSWORD, SETTINGS, SHARING
from netstacks.store.setting_types import Feature
from netstacks.store.vault import Vault
from netstacks.web.context import Services
from tests.web.conftest import MASTER_KEY, Api

IDLE = "/api/v1/settings/sessions.idle_minutes"


def item(admin: Api, key: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(f"/api/v1/settings/{key}").json
    return found


def test_all_settings_are_listed_with_their_defaults(admin: Api) -> None:
    answer = admin.get("/api/v1/settings").json
    assert [each["key"] for each in answer["items"]] == list(SETTINGS)
    assert {each["source"] for each in answer["items"]} == {"default"}
    assert {each["section"] for each in answer["items"]} == set(answer["sections"])
    assert set(answer["roles"]) >= {"admin", "operator", "viewer"}
    for each in answer["items"]:
        assert each["title"]
        assert each["description"]
        assert each["version"] == 0


def test_a_change_says_who_made_it_takes_effect_and_is_audited(
    admin: Api, services: Services, audited: Callable[[str], Any]
) -> None:
    answer = admin.put(IDLE, json={"value": 30, "version": 0})
    assert answer.status_code == 200, answer.text
    assert (answer.json["value"], answer.json["source"], answer.json["version"]) == (30, "stored", 1)
    assert (answer.json["changed_by"], answer.json["changed_at"][-1]) == ("admin", "Z")
    assert services.system_settings.get(IDLE_MINUTES) == 30
    [row] = audited("setting.changed")
    assert row["resource"] == "setting:sessions.idle_minutes"
    assert row["details"] == {"before": 0, "after": 30}


def test_back_to_the_default(admin: Api, services: Services, audited: Callable[[str], Any]) -> None:
    admin.put(IDLE, json={"value": 30})
    answer = admin.delete(IDLE).json
    assert (answer["value"], answer["source"], answer["version"], answer["changed_by"]) == (0, "default", 2, "admin")
    assert services.system_settings.get(IDLE_MINUTES) == 0
    assert audited("setting.changed")[-1]["details"] == {"before": 30, "after": 0}


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("sessions.idle_minutes", -1, "value: must be greater than or equal to 0"),
        ("sessions.idle_minutes", "5", "value: must be a valid integer"),
        ("sessions.idle_minutes", True, "value: must be a valid integer"),
        ("passwords.min_length", 7, "value: must be greater than or equal to 8"),
        ("passwords.min_admin_length", 11, "value: must be greater than or equal to 12"),
        ("passwords.free_attempts", 11, "value: must be less than or equal to 10"),
        ("passwords.longest_wait_secs", 10, "value: must be greater than or equal to 300"),
        ("features.sharing", {"enabled": "yes"}, "value: enabled must be a valid boolean"),
        ("features.sharing", {"disabled_roles": ["", "x"]}, "value: disabled_roles.0 must have at least 1 character"),
        ("login.banner", "x" * 2001, "value: must have at most 2000 characters"),
        ("login.banner", "a\x1b[2Jb", "value: must be plain text without control characters"),
        ("mail.security", "ssl", "value: must be starttls or tls or none"),
        ("mail.to", "a@b, nobody", "value: must be at most 20 e-mail addresses, separated by commas"),
        ("mail.from", "a@b\nBcc: c@d", "value: must be one line without control characters"),
        ("mail.host", "smtp://mail", "value: must be only a host name or an address"),
        ("mail.on_license", 1, "value: must be a valid boolean"),
    ],
)
def test_a_value_out_of_bounds_is_refused_in_words(admin: Api, key: str, value: Any, text: str) -> None:
    answer = admin.put(f"/api/v1/settings/{key}", json={"value": value})
    assert answer.status_code == 422
    assert answer.json["error"].startswith(text), answer.json
    assert item(admin, key)["source"] == "default"


def test_of_two_administrators_the_second_is_told(admin: Api, page: Api) -> None:
    assert page.put(IDLE, json={"value": 30, "version": 0}).status_code == 200
    answer = admin.put(IDLE, json={"value": 60, "version": 0})
    assert answer.status_code == 409
    assert "was changed meanwhile by page-admin" in answer.json["error"]
    assert admin.delete(f"{IDLE}?version=0").status_code == 409
    assert item(admin, "sessions.idle_minutes")["value"] == 30
    assert admin.put(IDLE, json={"value": 60, "version": 1}).status_code == 200


def test_only_administrators_see_and_change_settings(operator: Api, anonymous: Api) -> None:
    assert operator.get("/api/v1/settings").status_code == 403
    assert operator.put(IDLE, json={"value": 1}).status_code == 403
    assert operator.delete(IDLE).status_code == 403
    assert anonymous.get("/api/v1/settings").status_code == 401


def test_unknown_settings(admin: Api) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = admin.send(method, "/api/v1/settings/no.such", **({} if method == "GET" else {"json": {"value": 1}}))
        assert answer.status_code == 404
    assert admin.put("/api/v1/settings/no.such", data="no JSON").status_code == 404
    assert admin.delete("/api/v1/settings/no.such?version=x").status_code == 404
    assert admin.put(IDLE, json={}).status_code == 422


class TestOfTheEnvironment:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_validate(settings.model_dump(exclude_unset=True) | {"recording_retention_days": 7})

    def test_a_variable_wins_and_is_named(self, admin: Api, database: Database, services: Services) -> None:
        path = "/api/v1/settings/recordings.retention_days"
        with database.transaction() as tx:
            system_settings.put(tx, SETTINGS["recordings.retention_days"], 30, "before the variable was set")
        services.system_settings.refresh()
        found = admin.get(path).json
        assert (found["value"], found["source"], found["variable"]) == (7, "environment", "RECORDING_RETENTION_DAYS")
        answer = admin.put(path, json={"value": 9})
        assert answer.status_code == 409
        assert "RECORDING_RETENTION_DAYS" in answer.json["error"]
        assert services.system_settings.get(SETTINGS["recordings.retention_days"]) == 7

    def test_others_are_not_fixed(self, services: Services) -> None:
        assert list(of_environment(services.settings)) == ["recordings.retention_days"]


def test_a_secret_is_never_told(admin: Api, services: Services, audited: Callable[[str], Any]) -> None:
    path = "/api/v1/settings/mail.password"
    assert admin.get(path).json["value"] is False
    answer = admin.put(path, json={"value": "s3cret-word"})
    assert (answer.status_code, answer.json["source"]) == (200, "stored")
    assert "s3cret" not in answer.text + admin.get("/api/v1/settings").text + str(audited("setting.*"))
    assert admin.get(path).json["value"] is True
    with services.database.transaction() as tx:
        assert system_settings.open_secret(tx, services.vault, MAIL_PASSWORD) == "s3cret-word"
        [row] = tx.execute("SELECT count(*) AS n FROM settings WHERE value::text LIKE '%s3cret%'").fetchall()
        assert row["n"] == 0
    assert admin.delete(path).json["source"] == "default"
    with services.database.transaction() as tx:
        assert tx.execute("SELECT FROM vault_secrets WHERE field = 'mail_password'").fetchone() is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("mail.host", "evil.example"), ("mail.port", 2525), ("mail.security", "none"), ("mail.username", "another")],
)
def test_the_password_of_the_mail_server_is_for_that_server(
    admin: Api, services: Services, audited: Callable[[str], Any], key: str, value: object
) -> None:
    password, place = "/api/v1/settings/mail.password", f"/api/v1/settings/{key}"
    admin.put("/api/v1/settings/mail.host", json={"value": "smtp.example"})
    admin.put(password, json={"value": "s3cret-word"})
    seen = admin.get(password).json["version"]
    same = admin.put(place, json={"value": admin.get(place).json["value"]})
    assert (same.json["note"], admin.get(password).json["value"]) == ("", True)
    answer = admin.put(place, json={"value": value})
    assert answer.json["note"] == "Password: enter it again, the stored one was for the former value."
    assert admin.get(password).json["value"] is False
    with services.database.transaction() as tx:
        assert tx.execute("SELECT FROM vault_secrets WHERE field = 'mail_password'").fetchone() is None
    row = audited("setting.changed")[-1]
    assert (row["resource"], row["details"]) == ("setting:mail.password", {"before": "(hidden)", "after": None})
    # A form that was filled for the former value.
    assert admin.put(password, json={"value": "s3cret-word", "version": seen}).status_code == 409
    admin.put(password, json={"value": "s3cret-word"})
    assert admin.delete(place).json["note"] == answer.json["note"]
    assert admin.get(password).json["value"] is False


def test_how_long_the_audit_log_is_kept_needs_a_permission_of_its_own(
    admin: Api, database: Database, add_user: Callable[..., Any], log_in: Callable[..., Api]
) -> None:
    path = "/api/v1/settings/audit.retention_days"
    with database.transaction() as tx:
        roles.create(tx, Role("tuner", frozenset({"settings.manage"})), description="", by="t")
    add_user("tim", role="tuner")
    tim = log_in("tim")
    assert (item(tim, "audit.retention_days")["may_change"], item(tim, "mail.host")["may_change"]) == (False, True)
    for answer in (tim.put(path, json={"value": 1}), tim.delete(path)):
        assert answer.status_code == 403
        assert answer.json["error"].startswith("You need the audit.manage permission, too, to change this")
    assert item(admin, "audit.retention_days")["version"] == 0
    shown = tim.client.get("/admin/settings", headers=tim.headers).text
    assert "Change Keep recordings" in shown
    assert "Change Keep the audit log" not in shown
    assert admin.put(path, json={"value": 400}).json["may_change"] is True


def test_the_ai_switch_is_one_of_the_settings(admin: Api) -> None:
    admin.put("/api/v1/llm/settings", json={"enabled": True, "disabled_roles": ["viewer"]})
    found = item(admin, "ai.enabled")
    assert found["value"] == {"enabled": True, "disabled_roles": ["viewer"]}
    assert found["changed_by"] == "admin"
    admin.put("/api/v1/settings/ai.enabled", json={"value": {"enabled": False}})
    assert admin.get("/api/v1/llm/settings").json == {"enabled": False, "disabled_roles": [], "version": 2}


def test_the_banner_needs_no_log_in(admin: Api, anonymous: Api) -> None:
    assert anonymous.get("/api/v1/auth/notice").json == {"banner": ""}
    admin.put("/api/v1/settings/login.banner", json={"value": "Only for <b>staff</b>.\r\nAll is recorded. "})
    text = "Only for <b>staff</b>.\nAll is recorded."
    assert anonymous.get("/api/v1/auth/notice").json == {"banner": text}
    assert "Only for &lt;b&gt;staff" in anonymous.get("/login").text


@pytest.mark.parametrize("value", [7, "x", [], {"enabled": 3}, {"disabled_roles": "all"}, {"a": {"b": [None]}}])
def test_an_unreadable_value_breaks_nothing_and_is_safe(database: Database, admin: Api, value: Any) -> None:
    with database.transaction() as tx:
        for key in SETTINGS:
            tx.execute("INSERT INTO settings VALUES (%s, %s)", [key, Jsonb(value)])
    current = CurrentSettings(database)
    current.refresh()
    if value != {"a": {"b": [None]}}:  # Members of a newer version are ignored.
        assert current.get(SHARING) == Feature(enabled=False)
        assert current.get(SETTINGS["features.input_recording"]) == Feature(enabled=True)
    assert admin.get("/api/v1/settings").status_code == 200
    assert admin.put("/api/v1/settings/features.sharing", json={"value": {"enabled": True}}).status_code == 200


def test_a_value_that_fits_by_chance_is_within_bounds(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("INSERT INTO settings VALUES ('passwords.min_length', '3')")
    current = CurrentSettings(database)
    current.refresh()
    assert current.get(SETTINGS["passwords.min_length"]) == 8


def test_without_postgres_the_last_values_count(database: Database, database_url: str) -> None:
    own = Database(database_url)
    own.open()
    current = CurrentSettings(own)
    with database.transaction() as tx:
        system_settings.put(tx, IDLE_MINUTES, 15, "ana")
    current.refresh()
    own.close()
    current.look()
    assert current.get(IDLE_MINUTES) == 15


def test_an_older_version_does_not_overwrite(database: Database) -> None:
    with database.transaction() as tx:
        system_settings.put(tx, IDLE_MINUTES, 15, "ana", seen=0)
        change = system_settings.changes(tx)[IDLE_MINUTES.key]
    assert (change.version, change.changed_by) == (1, "ana")
    with pytest.raises(Conflict, match="changed meanwhile by ana"), database.transaction() as tx:
        system_settings.put(tx, IDLE_MINUTES, 20, "bob", seen=0)
    with database.transaction() as tx:
        assert system_settings.get(tx, IDLE_MINUTES) == 15


def test_a_change_of_the_master_key_keeps_the_password(admin: Api, services: Services, database: Database) -> None:
    admin.put("/api/v1/settings/mail.password", json={"value": "s3cret-word"})
    newer = Vault(database, "7c" * 32, MASTER_KEY)
    newer.rotate(audit.SYSTEM)
    alone = Vault(database, "7c" * 32)
    with database.transaction() as tx:
        assert system_settings.open_secret(tx, alone, MAIL_PASSWORD) == "s3cret-word"
