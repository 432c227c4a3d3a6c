"""Values that PostgreSQL can hold and Python cannot are read as the nearest Python value."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from netstacks.store.loading import EARLIEST, LATEST, read_json
from netstacks.store.pool import Database


def value(database: Database, expression: str) -> Any:
    with database.transaction() as tx:
        row = tx.execute(f"SELECT {expression} AS value, 'whole' AS neighbour".encode()).fetchone()
    assert row is not None
    assert row["neighbour"] == "whole"
    return row["value"]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Adak"])
@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("infinity", LATEST),
        ("-infinity", EARLIEST),
        ("0044-03-15 BC", EARLIEST),
        ("0001-01-01", EARLIEST),
        ("9999-12-31 23:59:59", LATEST),
        ("294276-12-31", LATEST),
        ("2026-01-02 03:04:05.678+00", datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)),
    ],
)
def test_a_time_is_a_date_that_can_be_computed_with(
    database: Database, text: str, nearest: datetime, zone: str
) -> None:
    with database.transaction() as tx:
        tx.execute(f"SET LOCAL TimeZone = '{zone}'".encode())
        row = tx.execute("SELECT %s::timestamptz AS at, ARRAY[%s::timestamptz] AS times", [text, text]).fetchone()
    assert row is not None
    assert row["at"] == nearest
    assert row["times"] == [nearest]
    assert row["at"] + timedelta(days=365) > row["at"] - timedelta(days=1)
    assert row["at"].astimezone(UTC).isoformat()


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("infinity", LATEST.date()),
        ("-infinity", EARLIEST.date()),
        ("0044-03-15 BC", EARLIEST.date()),
        ("294276-12-31", LATEST.date()),
        ("2026-01-02", date(2026, 1, 2)),
    ],
)
def test_a_day_is_a_date_that_python_has(database: Database, text: str, nearest: date) -> None:
    assert value(database, f"'{text}'::date") == nearest


def test_no_time_stays_none(database: Database) -> None:
    assert value(database, "NULL::timestamptz") is None


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2.5, null, true, "ä"]}', "0", '"text"', "null", "1e20", "-7", "[]", "9" * 400]
)
def test_json_is_read_as_it_is(database: Database, text: str) -> None:
    assert value(database, f"'{text}'::jsonb") == json.loads(text)
    assert value(database, f"'{text}'::json") == json.loads(text)


@pytest.mark.parametrize(
    "expression", ["'1e5000'", "'[' || repeat('1', 400) || '.5]'", "repeat('[', 2000) || repeat(']', 2000)"]
)
def test_json_that_could_not_be_written_again_is_its_text(database: Database, expression: str) -> None:
    read = value(database, f"({expression})::jsonb")
    assert isinstance(read, str)
    assert json.loads(json.dumps(read)) == read


def test_json_of_any_depth_is_read_from_any_depth() -> None:
    def nested(levels: int) -> Any:
        return read_json(b"[" * 190 + b"]" * 190) if not levels else nested(levels - 1)

    assert isinstance(nested(100), list)
    assert isinstance(read_json("[" * 210 + "]" * 210), str)
