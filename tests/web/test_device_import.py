"""The import of devices: every row has a fate, nothing is done that the dry run has not shown, exports come back."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netstacks.web.api import device_rows
from tests.web.conftest import Api
from tests.web.test_device_list import add, names

DOCS = Path(__file__).parents[2] / "docs" / "devices.md"
URL = "/api/v1/devices/import"


def dry_run(api: Api, file: str | bytes) -> Any:
    answer = api.post(f"{URL}?dry_run=1", data=file)
    assert answer.status_code == 200, answer.text
    return answer.json


def bring_in(api: Api, file: str | bytes, *, skip: bool = False) -> Any:
    digest = dry_run(api, file)["digest"]
    return api.post(f"{URL}?digest={digest}{'&skip_refused=1' if skip else ''}", data=file)


def fates(answer: Any) -> list[tuple[int, str]]:
    return [(row["line"], row["fate"]) for row in answer["rows"]]


def test_the_fate_of_every_row(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    add(admin, "same", "192.0.2.1", site="Berlin")
    changed = add(admin, "old-name", "192.0.2.2", port=2222)
    file = (
        "name,host,port,site,tags\r\n"
        "same,192.0.2.1,,Berlin,\r\n"
        'new-name,192.0.2.2,2222,Paris,"core, lab"\r\n'
        "added,R9.Example.net,,,\r\n"
        "wrong,not a host!,,,\r\n"
        "\r\n"
        "added,192.0.2.77,,,\r\n"
        "short,192.0.2.8\r\n"
        "port,192.0.2.9,x,,\r\n"
    )
    answer = dry_run(admin, file)
    assert fates(answer) == [
        (2, "unchanged"),
        (3, "changed"),
        (4, "added"),
        (5, "refused"),
        (7, "duplicate"),
        (8, "refused"),
        (9, "refused"),
    ]
    assert answer["counts"] == {"added": 1, "changed": 1, "unchanged": 1, "refused": 3, "duplicate": 1}
    rows = {row["line"]: row for row in answer["rows"]}
    assert rows[3]["changes"] == {
        "name": ["old-name", "new-name"],
        "site": [None, "Paris"],
        "tags": [[], ["core", "lab"]],
    }
    assert rows[4]["host"] == "r9.example.net"
    assert "not a host!" in rows[5]["reason"]
    assert rows[7]["reason"] == "line 4 is for the same device"
    assert rows[8]["reason"] == "the row has 2 cells, the header has 5"
    assert rows[9]["reason"] == "port: must be a whole number"
    assert names(admin) == ["old-name", "same"]

    assert bring_in(admin, file).status_code == 409
    assert names(admin) == ["old-name", "same"]
    done = bring_in(admin, file, skip=True)
    assert done.status_code == 200, done.text
    assert done.json["counts"] == answer["counts"]
    assert names(admin) == ["added", "new-name", "same"]
    stored = admin.get(f"/api/devices/{changed['id']}").json
    assert (stored["name"], stored["site"], stored["tags"], stored["port"]) == (
        "new-name",
        "Paris",
        ["core", "lab"],
        2222,
    )
    assert [row["details"]["name"] for row in audited("device.created")][-1] == "added"
    assert [row["resource"] for row in audited("device.updated")] == [f"device:{changed['id']}"]
    assert audited("device.imported")[0]["details"]["added"] == 1
    # The same file again: nothing is left to do.
    assert dry_run(admin, file)["counts"] == {"added": 0, "changed": 0, "unchanged": 3, "refused": 3, "duplicate": 1}


def test_only_what_the_dry_run_has_shown_is_imported(admin: Api) -> None:
    file = "name,host,site\nr1,192.0.2.1,Berlin\n"
    digest = dry_run(admin, file)["digest"]
    other = admin.post(f"{URL}?digest={digest}", data=file.replace("Berlin", "Paris"))
    assert other.status_code == 409
    add(admin, "r1", "192.0.2.1")
    meanwhile = admin.post(f"{URL}?digest={digest}", data=file)
    assert meanwhile.status_code == 409
    assert "another dry run" in meanwhile.json["error"]
    without = admin.post(URL, data=file)
    assert (without.status_code, without.json["error"][:19]) == (422, "digest: is missing:")
    assert [item["site"] for item in admin.get("/api/v1/devices").json["items"]] == [None]


def test_rows_match_by_id_then_name_then_address(admin: Api) -> None:
    by_id = add(admin, "a", "192.0.2.1")
    by_name = add(admin, "b", "192.0.2.2")
    by_address = add(admin, "c", "192.0.2.3")
    file = f"id,name,host\n{by_id['id']},a2,192.0.2.11\n,B,192.0.2.12\n,c2,192.0.2.3\n"
    assert bring_in(admin, file).status_code == 200
    found = {item["id"]: (item["name"], item["host"]) for item in admin.get("/api/v1/devices").json["items"]}
    assert found == {
        by_id["id"]: ("a2", "192.0.2.11"),
        by_name["id"]: ("B", "192.0.2.12"),
        by_address["id"]: ("c2", "192.0.2.3"),
    }


def test_a_row_that_matches_several_devices_is_refused(admin: Api) -> None:
    add(admin, "twin", "192.0.2.1")
    add(admin, "twin", "192.0.2.2")
    (row,) = dry_run(admin, "name,host\ntwin,192.0.2.9\n")["rows"]
    assert row["reason"] == "several devices match: name one of them by its id"
    (row,) = dry_run(admin, "name,host,site\ntwin,192.0.2.2,x\n")["rows"]
    assert row["fate"] == "changed"


def test_an_unknown_id_is_refused(admin: Api) -> None:
    (row,) = dry_run(admin, "id,name,host\n00000000-0000-0000-0000-000000000001,r1,192.0.2.1\n")["rows"]
    assert row["reason"].startswith("id: there is no device with this id")


def test_an_empty_cell_clears_and_an_absent_column_leaves(admin: Api) -> None:
    device = add(admin, "r1", "192.0.2.1", site="Berlin", description="in the cellar", tags=["core"], lines=5)
    assert bring_in(admin, "name,site,lines\nr1,,\n").status_code == 200
    stored = admin.get(f"/api/devices/{device['id']}").json
    assert (stored["site"], stored["lines"]) == (None, None)
    assert (stored["description"], stored["tags"], stored["host"]) == ("in the cellar", ["core"], "192.0.2.1")


def test_default_credentials_are_named(admin: Api) -> None:
    body = {"name": "TACACS", "credential_type": "ssh_password", "username": "u", "secret": "s"}
    credential = admin.post("/api/credentials", json=body).json["id"]
    file = "name,host,default_credential\nr1,192.0.2.1,TACACS\nr2,192.0.2.2,nothing\nr3,192.0.2.3,\n"
    rows = dry_run(admin, file)["rows"]
    assert [row["fate"] for row in rows] == ["added", "refused", "added"]
    assert rows[1]["reason"].startswith("default_credential: there is no shared SSH credential")
    assert bring_in(admin, file, skip=True).status_code == 200
    assert names(admin, f"credential={credential}") == ["r1"]
    admin.post("/api/credentials", json=body)
    assert dry_run(admin, "name,default_credential\nr1,TACACS\n")["counts"]["refused"] == 1
    assert dry_run(admin, f"name,default_credential\nr1,{credential}\n")["counts"]["unchanged"] == 1
    export = admin.get("/api/v1/devices/export").text
    assert dry_run(admin, export)["counts"]["unchanged"] == 2


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "The first line must name the columns"),
        (b"name,host\n", "no rows"),
        (b"name,host,colour\nr1,192.0.2.1,red\n", "The column 'colour' is unknown"),
        (b"name,host,name\nr1,192.0.2.1,r1\n", "twice"),
        (b"site\nx\n", "The first line must name the columns"),
        (b"name,host\nr\xe4,192.0.2.1\n", "Line 2 is not UTF-8"),
        (b"name,host\nr1,\x00\n", "NUL"),
        (b'name,host\n"r1,192.0.2.1\n', "is not CSV"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8"),
        (b"name,host\n" + b"r,192.0.2.1\n" * (device_rows.MAX_ROWS + 1), "20000 rows"),
    ],
)
def test_files_that_are_refused_as_a_whole(admin: Api, file: bytes, reason: str) -> None:
    answer = admin.post(f"{URL}?dry_run=1", data=file)
    assert answer.status_code == 422
    assert reason in answer.json["error"]


@pytest.mark.parametrize(
    "file",
    [
        '\ufeffname;host;tags;description\r\nr1;192.0.2.1;"core, lab";"two\r\nlines"\r\n',
        'name,host,tags,description\nr1,192.0.2.1,"core, lab","two\r\nlines"\n',
        'Name,Address,Tags,Description\nr1,192.0.2.1,"core,lab","two\r\nlines"',
    ],
)
def test_files_as_programs_write_them(admin: Api, file: str) -> None:
    assert bring_in(admin, file.encode()).status_code == 200
    (item,) = admin.get("/api/v1/devices").json["items"]
    assert (item["name"], item["host"], item["tags"]) == ("r1", "192.0.2.1", ["core", "lab"])
    assert item["description"] == "two\r\nlines"


def test_lines_are_numbered_where_rows_begin(admin: Api) -> None:
    file = 'name,host,description\nr1,192.0.2.1,"a\nb\nc"\n\nr2,!,\n'
    assert fates(dry_run(admin, file)) == [(2, "added"), (6, "refused")]


def test_formulas_are_harmless_in_an_export_and_come_back(admin: Api) -> None:
    device = add(admin, "=HYPERLINK(1)", "192.0.2.1", site="@x", description="'=quoted\n+1", tags=["-a", "+b"])
    export = admin.get("/api/v1/devices/export").text
    (row,) = csv.DictReader(io.StringIO(export, newline=""))
    assert row["name"] == "'=HYPERLINK(1)"
    assert row["site"] == "'@x"
    assert dry_run(admin, export)["counts"]["unchanged"] == 1
    admin.delete(f"/api/devices/{device['id']}")
    without_id = export.replace(device["id"], "")
    assert bring_in(admin, without_id).status_code == 200
    (item,) = admin.get("/api/v1/devices").json["items"]
    assert {name: item[name] for name in ("name", "site", "description", "tags")} == {
        name: device[name] for name in ("name", "site", "description", "tags")
    }


# The characters that CSV files and spreadsheets treat in their own ways, and some others.
TEXT = st.text(st.sampled_from("abc =+-@'\"\t\r\n,;|`“ ä\u200b\ufeff＝\u2028"), max_size=12)
PRINTABLE = st.text(st.sampled_from("abc =+-@'\",;|`“ä＝"), min_size=1, max_size=12).filter(str.strip)
TAG = st.text(st.sampled_from("abc =+-@'\";|`“ä＝"), min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=PRINTABLE,
    site=TEXT,
    device_type=TEXT,
    description=TEXT,
    tags=st.lists(TAG, max_size=3),
    port=st.integers(1, 65535),
    lines=st.none() | st.integers(1, 1000),
    algorithms=st.sampled_from(["modern", "legacy", "antique"]),
)
def test_an_export_comes_back_unchanged(admin: Api, **values: Any) -> None:
    device = add(admin, host="192.0.2.1", **values)
    try:
        export = admin.get("/api/v1/devices/export").data
        answer = dry_run(admin, export)
        assert answer["counts"]["unchanged"] == len(answer["rows"]) == 1, answer
    finally:
        admin.delete(f"/api/devices/{device['id']}")


def test_the_example_of_the_documentation_is_imported(admin: Api) -> None:
    body = {"name": "Backbone TACACS", "credential_type": "ssh_password", "username": "u", "secret": "s"}
    admin.post("/api/credentials", json=body)
    example = DOCS.read_text().split("```csv\n")[1].split("```")[0]
    answer = bring_in(admin, example)
    assert answer.status_code == 200, answer.text
    assert answer.json["counts"]["added"] == len(answer.json["rows"]) == 3
    documented = DOCS.read_text()
    assert all(f"`{column}`" in documented for column in device_rows.COLUMNS)


def test_only_managers_import_and_every_user_exports(operator: Api, viewer: Api) -> None:
    assert viewer.post(f"{URL}?dry_run=1", data="name,host\nr1,192.0.2.1\n").status_code == 403
    assert operator.post(f"{URL}?dry_run=1", data="name,host\nr1,192.0.2.1\n").status_code == 403
    assert viewer.get("/api/v1/devices/export").status_code == 200


def test_thousands_of_rows_are_imported_and_changed_at_once(
    admin: Api, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    lines = [f"r{number},10.{number // 65536}.{number // 256 % 256}.{number % 256},core" for number in range(5_000)]
    file = "name,host,tags\n" + "\n".join(lines)
    answer = bring_in(admin, file)
    assert answer.status_code == 200, answer.text
    assert admin.get("/api/v1/devices?limit=1").json["total"] == 5_000
    assert audited("device.imported")[0]["details"]["added"] == 5_000
    body = {"filter": {"tag": "core"}, "expected": 5_000, "changes": {"site": "Berlin"}}
    digest = admin.send("PATCH", "/api/v1/devices", json=body | {"dry_run": True}).json["digest"]
    changed = admin.send("PATCH", "/api/v1/devices", json=body | {"digest": digest})
    assert changed.json["changed"] == 5_000, changed.text


def test_ten_thousand_rows_with_all_columns_fit(admin: Api) -> None:
    common = {
        "device_type": "cisco_ios_xe",
        "site": "Building 12 of the northern campus",
        "tags": "core, edge, bgp, backbone, monitored",
        "manufacturer": "Cisco Systems",
        "model": "Catalyst 9500-48Y4C",
        "description": "Rack 12, room 3: " + "ask the owner of the room first. " * 4,
        "algorithms": "legacy",
        "encoding": "iso8859-15",
        "lines": 16,
        "patience_secs": 120,
    }
    file = io.StringIO()
    writer = csv.DictWriter(file, device_rows.COLUMNS)
    writer.writeheader()
    for number in range(10_000):
        name = f"branch-office-{number:05}-core-router"
        writer.writerow({**common, "name": name, "host": f"{name}.network.example.net", "port": 2222})
    assert 3_500_000 < len(file.getvalue()) < 4 * 1024 * 1024
    assert dry_run(admin, file.getvalue())["counts"]["added"] == 10_000


def test_a_file_beyond_the_limit_is_refused_with_what_to_do(admin: Api) -> None:
    answer = admin.post(f"{URL}?dry_run=1", data=b"name,host\n" + b"x" * 4 * 1024 * 1024)
    assert answer.status_code == 413
    assert answer.json["error"].startswith("The file is larger than 4 MB, the limit of an import. Split it")
