"""The audit log over HTTP: filtered, paged, and exported in a form that no spreadsheet executes."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from netstacks.store import audit
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.web.api import audit as audit_views
from tests.web.conftest import Api

Audited = Callable[[str], list[dict[str, Any]]]


def write(database: Database, count: int, event: str = "test.event", actor: str = "robot", **details: Any) -> None:
    with database.transaction() as tx:
        for number in range(count):
            audit.append(tx, Actor(actor, address="192.0.2.1"), event, f"thing:{number}", **details)


def test_an_item_names_actor_event_time_and_address(admin: Api, database: Database) -> None:
    write(database, 1, why="because")
    (item,) = admin.get("/api/audit?event=test.event").json["items"]
    assert item.pop("at").endswith("+00:00")
    assert item.pop("id") > 0
    assert item == {
        "actor": "robot",
        "actor_id": None,
        "event": "test.event",
        "resource": "thing:0",
        "details": {"why": "because"},
        "address": "192.0.2.1",
    }


def test_no_match_is_an_empty_page(admin: Api) -> None:
    assert admin.get("/api/audit?event=none").json == {"items": [], "next": None}


def test_pages_follow_each_other_without_gap_or_repetition(admin: Api, database: Database) -> None:
    write(database, 5)
    seen, before = [], ""
    while True:
        page = admin.get(f"/api/audit?event=test.*&limit=2{before}").json
        seen += [item["resource"] for item in page["items"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == [f"thing:{number}" for number in (4, 3, 2, 1, 0)]


def test_filters_narrow(admin: Api, database: Database) -> None:
    write(database, 2)
    write(database, 1, "other.event", "somebody")

    def events(query: str) -> list[str]:
        return [item["event"] for item in admin.get(f"/api/audit?{query}").json["items"]]

    assert events("actor=somebody") == ["other.event"]
    assert events("resource=thing:1") == ["test.event"]
    assert events("event=test.*&since=2020-01-01&until=2999-01-01T00:00:00Z") == ["test.event"] * 2
    assert events("event=test.*&since=2999-01-01") == events("event=test.*&until=2020-01-01") == []


@pytest.mark.parametrize(
    "query", ["since=yesterday", "limit=0", "limit=1001", "before=x", "before=99999999999999999999", "actor=a%00"]
)
def test_a_wrong_filter_is_named(admin: Api, query: str) -> None:
    answer = admin.get(f"/api/audit?{query}")
    assert answer.status_code == 422
    assert answer.json["error"].startswith((query.split("=")[0], "Text"))


def test_the_log_needs_its_permission(operator: Api, viewer: Api, anonymous: Api) -> None:
    for path in ("/api/audit", "/api/audit/export"):
        assert [user.get(path).status_code for user in (operator, viewer, anonymous)] == [403, 403, 401]


def test_an_export_holds_all_pages_and_is_audited(
    admin: Api, database: Database, audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_views, "_EXPORT_PAGE", 3)
    write(database, 7)
    answer = admin.get("/api/audit/export?format=json&event=test.*")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="netstacks-audit.json"'
    assert [item["resource"] for item in answer.json] == [f"thing:{number}" for number in range(6, -1, -1)]
    rows = list(csv.DictReader(io.StringIO(admin.get("/api/audit/export?format=csv&event=test.*").text)))
    assert [row["resource"] for row in rows] == [item["resource"] for item in answer.json]
    assert [row["details"]["format"] for row in audited("audit.exported")] == ["json", "csv"]


def test_an_empty_export_is_well_formed(admin: Api) -> None:
    assert json.loads(admin.get("/api/audit/export?format=json&event=none").text) == []
    assert admin.get("/api/audit/export?event=none").text == "id,at,actor,actor_id,event,resource,details,address\r\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", '=HYPERLINK("http://x")'])
def test_no_cell_of_a_csv_begins_like_a_formula(admin: Api, database: Database, name: str) -> None:
    write(database, 1, actor=name, reason=f"x;{name}")
    text = admin.get("/api/audit/export?format=csv&event=test.event").get_data(as_text=True)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["actor"] == f"'{name}"
    assert json.loads(row["details"]) == {"reason": f"x;'{name}"}


def test_an_unknown_format_is_refused(admin: Api) -> None:
    answer = admin.get("/api/audit/export?format=xml")
    assert (answer.status_code, answer.json["error"]) == (422, "format: must be 'csv' or 'json'")
