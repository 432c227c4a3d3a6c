"""Reading the audit log: every set of filters gives what it should, in order and page by page."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from netstacks.store import audit
from netstacks.store.pool import Database

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ACTORS, RESOURCES = ("ana", "bob"), ("session:1", "session:2", "user:1")
EVENTS = ("auth.login", "auth.logout", "session.closed", "session.opened")
ROWS = 120
TIMES = (None, BEGAN + timedelta(seconds=5), BEGAN + timedelta(days=1))

Row = dict[str, Any]


@pytest.fixture
def written(database: Database) -> list[Row]:
    """The log, newest first. Several rows have one time, and some have a later one than rows that follow them."""
    dice = random.Random(1)
    with database.transaction() as tx:
        rows = [
            tx.execute(
                "INSERT INTO audit (at, actor, event, resource) VALUES (%s, %s, %s, %s)"
                " RETURNING id, at, actor, event, resource",
                [
                    BEGAN + timedelta(seconds=number // 10 + dice.choice((0, 0, 1))),
                    dice.choice(ACTORS),
                    dice.choice(EVENTS),
                    dice.choice(RESOURCES),
                ],
            ).fetchone()
            for number in range(ROWS)
        ]
    return sorted((row for row in rows if row), key=lambda row: (row["at"], row["id"]), reverse=True)


def is_wanted(row: Row, filters: dict[str, Any]) -> bool:
    event = filters["event"] or "*"
    return (
        filters["actor"] in (None, row["actor"])
        and filters["resource"] in (None, row["resource"])
        and (row["event"].startswith(event[:-1]) if event.endswith("*") else row["event"] == event)
        and (filters["since"] or BEGAN) <= row["at"] < (filters["until"] or row["at"] + timedelta(1))
    )


def read(database: Database, filters: dict[str, Any], limit: int) -> Iterator[int]:
    """The ids of all pages."""
    before = None
    while True:
        with database.transaction() as tx:
            page = audit.list_page(tx, **filters, before=before, limit=limit)
        yield from (row["id"] for row in page)
        if len(page) < limit:
            return
        before = page[-1]["id"]


@pytest.mark.parametrize("resource", [None, "session:1", "nothing"])
@pytest.mark.parametrize("actor", [None, "ana", "nobody"])
def test_every_set_of_filters_gives_its_rows_in_order_on_pages_of_any_size(
    database: Database, written: list[Row], actor: str | None, resource: str | None
) -> None:
    for event, since, until in product((None, "auth.login", "auth.*", "*", "none", "none.*"), TIMES, TIMES):
        filters = {"actor": actor, "event": event, "resource": resource, "since": since, "until": until}
        wanted = [row["id"] for row in written if is_wanted(row, filters)]
        for limit in (7, ROWS + 1):
            assert list(read(database, filters, limit)) == wanted, filters


def test_a_page_may_begin_at_a_row_that_there_is_not(database: Database, written: list[Row]) -> None:
    newest = max(row["id"] for row in written)
    with database.transaction() as tx:
        assert len(audit.list_page(tx, before=newest + 1000, limit=ROWS + 1)) == ROWS
        assert audit.list_page(tx, before=0) == []
