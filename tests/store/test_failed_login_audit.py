"""Failed log-ins in the audit log: bounded in an hour, and every one of them told."""

from typing import Any

import pytest

from netstacks.store import audit, failed_login_audit
from netstacks.store.audit import Actor
from netstacks.store.failed_login_audit import EVENT, MORE_EVENT, note, write_counted
from netstacks.store.pool import Database

NETWORK = "2001:db8::/64"


def fail(database: Database, times: int = 1, network: str = NETWORK, most: int = 3) -> None:
    for _ in range(times):
        with database.transaction() as tx:
            note(tx, Actor("lee", None, "2001:db8::1"), "user:unknown", network, most)


def rows(database: Database, event: str) -> list[dict[str, Any]]:
    with database.transaction() as tx:
        return audit.list_page(tx, event=event)


def tell(database: Database, age_secs: float = 0) -> int:
    with database.transaction() as tx:
        return write_counted(tx, age_secs=age_secs)


def test_beyond_the_limit_of_an_hour_log_ins_are_counted_by_network(database: Database) -> None:
    fail(database, 8)
    fail(database, 2, "192.0.2.1")
    assert [(row["actor"], row["resource"], row["address"]) for row in rows(database, EVENT)] == [
        ("lee", "user:unknown", "2001:db8::1")
    ] * 3
    assert tell(database) == 7
    told = {row["resource"]: row["details"]["attempts"] for row in rows(database, MORE_EVENT)}
    assert told == {f"address:{NETWORK}": 5, "address:192.0.2.1": 2}
    assert tell(database) == 0


def test_counted_failures_are_told_when_they_are_old_enough(database: Database) -> None:
    fail(database, 4)
    assert tell(database, failed_login_audit.COUNT_SECS) == 0
    with database.transaction() as tx:
        tx.execute("UPDATE failed_login_counts SET since = since - interval '11 minutes'")
    assert tell(database, failed_login_audit.COUNT_SECS) == 1


def test_an_hour_later_each_has_its_row_again(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO audit (at, actor, event, resource) SELECT now() - interval '61 minutes', 'lee', %s, 'user:x'"
            " FROM generate_series(1, 5)",
            [EVENT],
        )
    fail(database, 3)
    assert len(rows(database, EVENT)) == 8
    assert tell(database) == 0


def test_however_many_networks_there_are_they_share_a_bounded_number_of_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_login_audit, "_MAX_NETWORKS", 2)
    for number in range(6):
        fail(database, number + 1, f"192.0.2.{number}", most=0)
    assert tell(database) == 21
    told = {row["resource"]: row["details"] for row in rows(database, MORE_EVENT)}
    assert {each: details["attempts"] for each, details in told.items()} == {
        "address:192.0.2.5": 6,
        "address:192.0.2.4": 5,
        "address:others": 10,
    }
    assert told["address:others"]["addresses"] == 4
