"""One row that something else has written breaks no list, no page and no log-in: the rest is shown, the row too."""

import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, LiteralString, cast

import psycopg
import pytest
import structlog
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from netstacks.cluster.model import Instance
from netstacks.errors import Conflict
from netstacks.instance.history import History
from netstacks.instance.observer import Observer
from netstacks.instance.session_survey import SessionSurvey
from netstacks.peer.clocks import PeerClocks
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.storage import Batch, save
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import sanitization, system_settings
from netstacks.store import settings as store_settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AI
from netstacks.web.context import Services
from tests.web.bad_rows import COLUMNS, FRESH, GOOD_SESSION, LISTS, MORE_WHOLE, ROWS, SETTINGS, SHARES, VALUES, WHOLE
from tests.web.conftest import PASSWORD, Api


@pytest.fixture
def services(services: Services, database: Database) -> Services:
    """The services of an instance that is alone, with a whole row in every list."""
    registry = MemoryRegistry()
    me = Instance("here", "host", "127.0.0.1:1", 0.0, "1", "active", "", pid=1)
    registry.register(me)
    services.agent = cast(
        Any, SimpleNamespace(me=me, is_draining=False, is_blind=False, contact=SimpleNamespace(problem=None))
    )
    services.observer = Observer(registry, PeerClocks(), database)
    services.consistency = cast(Any, SimpleNamespace(problems=lambda: ()))
    services.history = History(registry, services.observer.instance_ids)
    services.session_survey = SessionSurvey(database, services.peers, services.hub, "here")
    services.recorder = cast(Any, SimpleNamespace(flush=lambda timeout_secs: True))
    with database.transaction() as tx:
        tx.execute(WHOLE.encode())
    return services


def paths(app: Flask) -> Iterator[str]:
    """The paths of all GET routes without an argument."""
    for rule in app.url_map.iter_rules():
        is_read = "GET" in (rule.methods or set()) and not rule.arguments and not rule.websocket
        # The streams last for minutes.
        if is_read and rule.rule not in ("/api/v1/audit/stream", "/api/v1/ha/stream", "/admin/ha/stream"):
            yield rule.rule


def read(api: Api, page: Api, path: str) -> str:
    """The answer, which is whole JSON where it is JSON."""
    # What something else has written may be of another type.
    answer = replace(api if path.startswith("/api/") else page, checks_answers=False).get(path)
    assert answer.status_code < 500, f"{path}: {answer.text}"
    if answer.is_json:
        json.loads(answer.text, parse_constant=pytest.fail)
    return answer.text


def read_all(app: Flask, api: Api, page: Api) -> None:
    """Everything can be read, and shows the row that is whole."""
    for path in paths(app):
        read(api, page, path)
    for path in LISTS:
        assert "whole" in read(api, page, path), path
    assert len(json.loads(read(api, page, SHARES))) >= 1


def spoil(database: Database, statement: str) -> None:
    with database.transaction() as tx:
        tx.execute(statement.encode())


def log_in(api: Api) -> int:
    body = {"username": "admin", "password": PASSWORD, "client_type": "terminal"}
    return Api(api.client).post("/api/auth/login", json=body).status_code


def test_bad_rows_break_no_list_and_no_log_in(
    app: Flask, admin: Api, page: Api, database: Database, services: Services
) -> None:
    for statement in ROWS.values():
        spoil(database, statement)
    services.llm.directory.refresh()
    read_all(app, admin, page)
    assert log_in(admin) == 200
    assert [provider.name for provider in services.llm.directory.providers()] == ["whole"]


def test_a_bad_setting_breaks_no_list_and_no_log_in(
    app: Flask, admin: Api, page: Api, database: Database, services: Services
) -> None:
    for statement in SETTINGS.values():
        spoil(database, f"DELETE FROM settings; {statement}")
        services.llm.directory.refresh()
        read_all(app, admin, page)
        assert log_in(admin) == 200


@pytest.mark.parametrize("at", ["infinity", "-infinity"])
def test_no_count_of_failures_is_an_error_of_a_log_in(admin: Api, database: Database, at: str) -> None:
    body = {"username": "admin", "password": "wrong", "client_type": "terminal"}
    for _ in range(2):
        assert Api(admin.client).post("/api/auth/login", json=body).status_code in (401, 429)
        spoil(database, f"UPDATE failed_logins SET failures = 2147483647, since = '{at}', last_at = '{at}'")
    assert log_in(admin) in (200, 429)


def test_the_row_itself_is_shown_where_it_can_be(admin: Api, page: Api, database: Database, services: Services) -> None:
    for row in ("audit details that are a text", "a host key of no kind", "a provider at no address"):
        spoil(database, ROWS[row])
    assert '"unreadable": "text"' in read(admin, page, "/api/audit/export?format=json")
    assert "unreadable" in read(admin, page, "/admin/audit")
    [bad] = [key for key in admin.get("/api/host-keys").json if key["host"] == "bad.example"]
    assert (bad["fingerprint"], bad["approved_at"]) == ("unreadable", "9000-01-01T00:00:00Z")
    services.llm.directory.refresh()
    [bad] = [item for item in admin.get("/api/v1/llm/providers").json["items"] if item["name"] == "nowhere"]
    assert "base_url" in bad["problem"]
    assert bad["connect_secs"] is None


def test_a_licence_that_cannot_be_read_is_none_and_says_why(admin: Api, database: Database) -> None:
    assert admin.get("/api/admin/license/status").json["problem"] is None
    spoil(database, SETTINGS["a licence that is a number"])
    status = admin.get("/api/admin/license/status").json
    assert (status["status"], status["tier"]) == ("evaluation", "enterprise")
    assert "activate it anew" in status["problem"]


def test_without_a_readable_sanitization_nothing_is_sent_to_providers(admin: Api, database: Database) -> None:
    spoil(database, SETTINGS["a pattern that is a number"])
    store_settings._logged.clear()
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            admin.post("/api/ai/sanitization/test", json={"text": "hello"})
    assert [each["key"] for each in logged if each["event"] == "setting.unreadable"] == ["ai.sanitization"]
    refused = admin.post("/api/ai/sanitization/test", json={"text": "hello"})
    assert refused.status_code == 422
    assert "custom_patterns" in refused.json["error"]
    assert len(admin.get("/api/admin/sanitization/config").json["problems"]) == 2
    assert admin.put("/api/admin/sanitization/config", json={}).status_code == 200
    assert admin.post("/api/ai/sanitization/test", json={"text": "hello"}).status_code == 200
    assert "problems" not in admin.get("/api/admin/sanitization/config").json


def test_a_damaged_chunk_names_itself_and_the_rest_plays(admin: Api, database: Database) -> None:
    chunks = []
    previous = b""
    for seq in range(5):
        events = [Event(1000.0 + seq, EventKind.OUTPUT, b"part%d" % seq)]
        chunks.append(make_chunk(previous, GOOD_SESSION, 1, seq, 5 * seq, events))
        previous = chunks[-1].sha256
    with database.transaction() as tx:
        assert save(tx, [Batch(GOOD_SESSION, 1, 0, chunks)]) == []
        tx.execute("UPDATE recording_chunks SET began_at = 'NaN' WHERE seq = 1")
        tx.execute("UPDATE recording_chunks SET events = substr(events, 1, 15) WHERE seq = 2")
        tx.execute("UPDATE recording_chunks SET events = '\\x6fffffffffffffffff0000000141' WHERE seq = 3")
    lines = admin.get(f"/api/recordings/{GOOD_SESSION}/data").text.splitlines()[1:]
    played = [json.loads(line, parse_constant=pytest.fail)[1:] for line in lines]
    assert played[0] == ["o", "part0"]
    assert played[-1] == ["o", "part4"]
    assert [(kind, text.split(" of ")[0]) for kind, text in played[1:-1]] == [
        ("m", "chunk 1"),
        ("m", "chunk 2"),
        ("m", "chunk 3"),
    ]


EXAMPLES = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


# Of their rows, if these tests have any, no copy can be made.
LEFT_OUT = {
    "external_logins", "failed_logins", "known_networks", "login_trials", "recording_chunks", "schema_migrations",
    "session_definition_assignments", "session_summaries", "vault_keys", "vault_secrets",
}  # fmt: skip


def insert_beside(database: Database, table: str, types: dict[str, str], spoilt: dict[str, str | None]) -> bool:
    """Inserts a copy of some row in which columns have other values; False when PostgreSQL refuses it."""
    taken: dict[str, sql.Composable] = {
        name: sql.SQL(cast(LiteralString, FRESH[kind, name])) if (kind, name) in FRESH else sql.Identifier(name)
        for name, kind in types.items()
    }
    values = {
        name: sql.SQL("{}::{}").format(sql.Literal(each), sql.SQL(cast(LiteralString, types[name])))
        for name, each in spoilt.items()
    }
    statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} LIMIT 1 ON CONFLICT DO NOTHING").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, types)),
        sql.SQL(", ").join((taken | values).values()),
        sql.Identifier(table),
    )
    try:
        with database.transaction() as tx:
            return tx.execute(statement).rowcount > 0
    except (psycopg.Error, Conflict):
        return False


@EXAMPLES
@given(data=st.data())
def test_no_row_of_any_values_breaks_a_reader(
    app: Flask, admin: Api, page: Api, database: Database, services: Services, data: st.DataObject
) -> None:
    with database.transaction() as tx:
        if tx.execute("SELECT 1 FROM session_summaries").fetchone() is None:
            tx.execute(MORE_WHOLE.encode())
        columns = tx.execute(COLUMNS).fetchall()
    table = data.draw(st.sampled_from(sorted({row["table"] for row in columns} - LEFT_OUT)))
    types = {row["column"]: row["type"] for row in columns if row["table"] == table}
    choices = {
        row["column"]: [each for each in VALUES[row["type"]] if each is not None or not row["is_needed"]]
        for row in columns
        if row["table"] == table and row["type"] in VALUES
    }
    names = data.draw(st.sets(st.sampled_from(sorted(choices)), min_size=1, max_size=3))
    spoilt = {name: data.draw(st.sampled_from(choices[name])) for name in sorted(names)}
    if not insert_beside(database, table, types, spoilt):
        return
    services.llm.directory.refresh()
    read_all(app, admin, page)
    assert log_in(admin) in (200, 429)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
MEMBERS = ("enabled", "disabled_roles", "custom_patterns", "allowlist", "name", "regex", "redact_usernames")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS) | TEXT, inner, max_size=4),
    max_leaves=8,
)
KEYS = (
    "license_key",
    "ai.enabled",
    "ai.sanitization",
    "llm.providers",
    "features.sharing",
    "sessions.per_user",
    "login.banner",
    "mail.security",
)
READERS = (
    "/api/admin/license/status",
    "/api/admin/sanitization/config",
    "/api/capabilities",
    "/api/credentials/accessible/default",
    "/api/users",
    "/api/v1/llm/providers",
    "/api/v1/llm/settings",
    "/api/v1/settings",
    "/admin/settings",
    "/admin/audit",
)


@EXAMPLES
@given(value=JSON, key=st.sampled_from(KEYS))
def test_no_json_value_of_any_setting_breaks_a_reader(
    admin: Api, page: Api, database: Database, services: Services, key: str, value: Any
) -> None:
    with database.transaction() as tx:
        tx.execute("DELETE FROM settings")
        tx.execute("INSERT INTO settings VALUES (%s, %s)", [key, Jsonb(value)])
        tx.execute("INSERT INTO user_settings SELECT id, 'terminal.default_credential', %s FROM users"
                   " ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value", [Jsonb(value)])  # fmt: skip
        tx.execute("INSERT INTO audit (actor, event, resource, details) VALUES ('x', 'x', 'x', %s)", [Jsonb(value)])
    services.llm.directory.refresh()
    for path in READERS:
        read(admin, page, path)
    # What was not understood can be stored anew.
    assert admin.put("/api/v1/llm/settings", json={"enabled": True}).status_code == 200
    assert admin.put("/api/admin/sanitization/config", json={}).status_code == 200
    body = {"name": "new", "type": "openai", "models": ["m"], "base_url": "http://127.0.0.1:1"}
    added = admin.post("/api/v1/llm/providers", json=body)
    assert added.status_code == 201
    assert admin.delete(f"/api/v1/llm/providers/{added.json['id']}").status_code == 204
    with database.transaction() as tx:
        assert system_settings.get(tx, AI).enabled
        assert sanitization.get(tx) == sanitization.SanitizationConfig()
