"""The audit log of /api/v1: names beside ids, ranges, search, exports, new rows, saved filters and targets."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from flask import Flask

from netstacks.permissions import EVERYWHERE
from netstacks.store import audit, audit_chain, audit_verify, user_settings
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.store.sight import Sight
from netstacks.web.api import audit_filter, audit_log
from netstacks.web.context import Services
from tests.web.conftest import Api

ALL = Sight(uuid4(), of_others=True, reach=EVERYWHERE)

Audited = Callable[[str], list[dict[str, Any]]]
HOOK = {"name": "SIEM", "type": "webhook", "address": "https://siem.example.net/audit"}


def write(database: Database, count: int, event: str = "test.event", resource: str = "thing", **details: Any) -> None:
    with database.transaction() as tx:
        for number in range(count):
            audit.append(tx, Actor("robot"), event, resource, number=number, **details)


def found(api: Api, query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.get(f"/api/v1/audit?{query}").json["items"]
    return items


def test_what_there_is_and_what_was_deleted_has_its_name(admin: Api, database: Database) -> None:
    device = admin.post("/api/devices", json={"name": "core-1", "host": "192.0.2.1"}).json
    gone = admin.post("/api/devices", json={"name": "old-1", "host": "192.0.2.2"}).json
    admin.delete(f"/api/devices/{gone['id']}")
    write(database, 1, "test.one", f"device:{device['id']}", of=gone["id"], users=[admin.user["id"]])
    write(database, 1, "test.two", f"device:{gone['id']}")
    write(database, 1, "test.three", f"device:{uuid4()}")
    (one,) = found(admin, "event=test.one")
    assert one["resource_name"] == "core-1"
    # The name of a deleted one is known from its own rows, which only those of its resource tell.
    assert one["names"] == {admin.user["id"]: "admin"}
    assert [item["resource_name"] for item in found(admin, "event=test.t*")] == [None, "old-1"]


def test_the_names_of_a_page_are_one_query(admin: Api, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(audit_filter, "named", lambda *args: calls.append(args) or [])
    monkeypatch.setattr(audit_log, "named", audit_filter.named)
    write(database, 30, resource=f"device:{uuid4()}")
    admin.get("/api/v1/audit")
    assert len(calls) == 1


def test_a_range_ends_now(admin: Api, database: Database) -> None:
    now = datetime.now(UTC)
    with database.transaction() as tx:
        for hours in (0.5, 2, 24 * 6, 24 * 8):
            at = now - timedelta(hours=hours)
            tx.execute(
                "INSERT INTO audit (at, actor, event, resource) VALUES (%s, 'x', 'test.old', %s)", [at, str(hours)]
            )
    assert [item["resource"] for item in found(admin, "event=test.old&range=hour")] == ["0.5"]
    assert [item["resource"] for item in found(admin, "event=test.old&range=week")] == ["0.5", "2", "144"]
    assert admin.get("/api/v1/audit?range=year").status_code == 422


def test_a_text_is_found_anywhere_in_a_row_and_a_search_goes_on_where_it_ended(
    admin: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "_EXPORT_PAGE", 5)
    monkeypatch.setattr(audit_log, "_SEARCHED_ROWS", 10)
    write(database, 1, reason="a Needle in it")
    write(database, 23)
    write(database, 2, "needle.found")
    seen, before, pages = [], "", 0
    while True:
        page = admin.get(f"/api/v1/audit?q=nEEDLE&limit=1{before}").json
        seen += [item["event"] for item in page["items"]]
        pages += 1
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == ["needle.found", "needle.found", "test.event"]
    assert pages >= 4
    assert found(admin, "q=nothing+of+this+kind") == []


def test_exports_are_whole_and_audited(
    admin: Api, database: Database, audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "_EXPORT_PAGE", 3)
    write(database, 7, reason="=1+1")
    lines = admin.get("/api/v1/audit/export?format=jsonl&event=test.*").text.splitlines()
    assert [json.loads(line)["details"]["number"] for line in lines] == list(range(6, -1, -1))
    text = admin.get("/api/v1/audit/export?format=csv&event=test.*").text
    assert text.count("'=1+1") == 7
    assert [row["details"]["format"] for row in audited("audit.exported")] == ["jsonl", "csv"]


def test_a_follower_gets_each_new_row_once_whatever_the_order_of_commits(
    app: Flask, admin: Api, services: Services, database: Database
) -> None:
    services.agent = cast(Any, SimpleNamespace(is_draining=False))
    query = audit_log.StreamQuery(event="test.*")
    position, _ = audit_log._look(database, query, ALL, None)
    write(database, 2)
    write(database, 1, "other.event")
    assert audit_log._look(database, query, ALL, position) == (position, [])
    with database.transaction() as tx:
        audit_chain.seal_some(tx)
    after, (event,) = audit_log._look(database, query, ALL, position)
    assert event.startswith(f"id: {after}\n")
    items = json.loads(event.partition("data: ")[2])["items"]
    assert [item["details"]["number"] for item in items] == [0, 1]
    assert audit_log._look(database, query, ALL, after) == (after, [])


def test_only_so_many_pages_follow(admin: Api, services: Services) -> None:
    services.audit_streams._of_user[admin.user_id] = 20
    answer = admin.get("/api/v1/audit/stream")
    assert answer.status_code == 503
    assert "live updates" in answer.json["error"]


def test_the_state_of_the_chain_is_told(admin: Api, database: Database) -> None:
    write(database, 3)
    before = admin.get("/api/v1/audit/chain").json
    assert (before["rows"], before["sealed_at"], before["verified"], before["retention_days"]) == (0, None, None, 0)
    assert before["waiting"] >= 3
    with database.transaction() as tx:
        audit_chain.seal_some(tx)
    verdict = audit_verify.verify(database)
    write(database, 1, "audit.verified", "audit", rows=verdict.rows, seal=1, problem=None)
    after = admin.get("/api/v1/audit/chain").json
    assert after["sha256"] == verdict.sha256
    assert after["verified"]["rows"] == after["rows"]
    assert [each["name"] for each in after["partitions"]] == ["audit_first"]


def test_filters_are_saved_per_user_and_replaced_by_name(admin: Api, page: Api) -> None:
    assert admin.post("/api/v1/audit/filters", json={"name": "Mine", "event": "a.*"}).status_code == 201
    assert (
        admin.post("/api/v1/audit/filters", json={"name": "Mine", "event": "b.*", "range": "hour"}).status_code == 201
    )
    assert admin.get("/api/v1/audit/filters").json["items"] == [{"name": "Mine", "event": "b.*", "range": "hour"}]
    assert page.get("/api/v1/audit/filters").json["items"] == []
    assert admin.post("/api/v1/audit/filters", json={"name": "", "event": "a.*"}).status_code == 422
    assert page.delete("/api/v1/audit/filters?name=Mine").status_code == 404
    assert admin.delete("/api/v1/audit/filters?name=Mine").status_code == 204
    assert admin.get("/api/v1/audit/filters").json["items"] == []


def test_a_stored_value_that_is_no_list_of_filters_is_none(admin: Api, database: Database) -> None:
    for value in ("text", [1], [{"name": "x", "range": "year"}], {"a": []}):
        with database.transaction() as tx:
            user_settings.put(tx, admin.user_id, "audit.filters", value)
        assert admin.get("/api/v1/audit/filters").json == {"items": []}


def test_a_target_is_created_changed_and_deleted_and_its_secret_stays_inside(
    admin: Api, database: Database, audited: Audited
) -> None:
    created = admin.post("/api/v1/audit/targets", json=HOOK | {"secret": "hidden text"})
    assert created.status_code == 201
    path = f"/api/v1/audit/targets/{created.json['id']}"
    assert admin.put(path, json=HOOK | {"name": "SIEM 2", "is_enabled": False}).json["name"] == "SIEM 2"
    (listed,) = admin.get("/api/v1/audit/targets").json["items"]
    assert (listed["is_enabled"], listed["waiting"], listed["problem"]) == (False, 0, None)
    assert admin.delete(path).status_code == 204
    assert admin.get(path).status_code == admin.delete(path).status_code == 404
    rows = audited("audit_target.*")
    assert [row["event"] for row in rows] == ["audit_target.created", "audit_target.updated", "audit_target.deleted"]
    assert rows[1]["details"]["changed"] == ["name", "is_enabled"]
    assert "hidden text" not in json.dumps([row["details"] for row in rows]) + json.dumps(listed)
    with database.transaction() as tx:
        assert tx.execute("SELECT 1 FROM vault_secrets WHERE field = 'push_secret'").fetchone() is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"address": "http://siem.example.net/"}, "https://"),
        ({"address": "https://user:pass@siem.example.net/"}, "without a user name"),
        ({"address": "https://siem.example.net:99999/"}, "port"),
        ({"type": "syslog_tcp", "address": "siem.example.net"}, "address: must be a host and a port"),
        ({"type": "syslog_tcp", "address": ":514"}, "host and a port"),
        ({"type": "syslog_tls", "address": "siem.example.net:6514", "ca": "no certificate"}, "PEM"),
        ({"type": "syslog_tls", "address": "siem.example.net:6514", "ca": "k\u00e9y"}, "PEM"),
        ({"type": "pigeon"}, "type"),
        ({"name": ""}, "name"),
    ],
)
def test_a_wrong_target_is_refused_in_words(admin: Api, change: dict[str, str], told: str) -> None:
    answer = admin.post("/api/v1/audit/targets", json=HOOK | change)
    assert answer.status_code == 422
    assert told in answer.json["error"]


def test_two_targets_have_two_names_and_there_are_only_so_many(admin: Api) -> None:
    assert admin.post("/api/v1/audit/targets", json=HOOK).status_code == 201
    refused = admin.post("/api/v1/audit/targets", json=HOOK | {"name": "siem"})
    assert (refused.status_code, refused.json["error"]) == (409, "name: is the name of another target")
    for number in range(9):
        assert admin.post("/api/v1/audit/targets", json=HOOK | {"name": str(number)}).status_code == 201
    assert "10 targets" in admin.post("/api/v1/audit/targets", json=HOOK | {"name": "one more"}).json["error"]
