"""Counting wrong passwords: many at once are no more than in a row, and what is kept is bounded."""

import threading

import pytest

from netstacks.store import failed_logins
from netstacks.store.failed_logins import Attempt, free_attempts, network, note, note_pair, reserve, sweep
from netstacks.store.pool import Database


def rows(database: Database) -> int:
    with database.transaction() as tx:
        row = tx.execute("SELECT count(*) AS count FROM failed_logins").fetchone()
    assert row is not None
    return int(row["count"])


@pytest.mark.parametrize(
    ("account", "address", "free"), [(0, 0, 10), (99, 99, 10), (100, 0, 3), (0, 100, 3), (5000, 5000, 3)]
)
def test_attempts_are_free_by_what_else_went_wrong(account: int, address: int, free: int) -> None:
    assert free_attempts(account, address) == free


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:9::1", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        (None, ""),
        ("unix:", "unix:"),
    ],
)
def test_an_address_is_counted_with_its_network(address: str | None, counted: str) -> None:
    assert network(address) == counted


def test_attempts_count_only_once_they_have_failed(database: Database) -> None:
    attempt = Attempt("lee", "192.0.2.1")
    for _ in range(30):
        with database.transaction() as tx:
            assert reserve(tx, attempt).wait_secs == 0
    assert rows(database) == 0
    for _ in range(10):
        with database.transaction() as tx:
            assert reserve(tx, attempt).wait_secs == 0
            note(tx, attempt)
    with database.transaction() as tx:
        assert reserve(tx, attempt).wait_secs == 10


def test_of_many_attempts_at_the_moment_a_wait_ends_one_is_let_through(database: Database) -> None:
    attempt = Attempt("lee", "192.0.2.1")
    with database.transaction() as tx:
        for _ in range(10):
            note(tx, attempt)
        tx.execute("UPDATE failed_logins SET last_at = last_at - interval '10 seconds'")
    waits: list[int] = []

    def guess() -> None:
        with database.transaction() as tx:
            waits.append(reserve(tx, attempt).wait_secs)

    guessing = [threading.Thread(target=guess) for _ in range(30)]
    for each in guessing:
        each.start()
    for each in guessing:
        each.join()
    assert sorted(map(bool, waits)) == [False] + [True] * 29


def test_an_address_that_has_guessed_too_much_is_told_once(database: Database) -> None:
    told = []
    for number in range(120):
        with database.transaction() as tx:
            told.append(note(tx, Attempt(f"name {number}", "192.0.2.1")))
    assert [number for number, is_now in enumerate(told, 1) if is_now] == [100]
    with database.transaction() as tx:
        assert reserve(tx, Attempt("lee", "192.0.2.1")).is_of_address
        assert not reserve(tx, Attempt("lee", "192.0.2.2")).is_of_address


def test_many_instances_note_at_once_without_a_deadlock(database: Database) -> None:
    errors: list[Exception] = []

    def fail(number: int) -> None:
        try:
            for step in range(20):
                with database.transaction() as tx:
                    note(tx, Attempt(f"user {(number + step) % 3}", f"192.0.2.{(number * step) % 3}"))
        except Exception as error:
            errors.append(error)

    failing = [threading.Thread(target=fail, args=(number,)) for number in range(8)]
    for each in failing:
        each.start()
    for each in failing:
        each.join()
    assert errors == []
    with database.transaction() as tx:
        row = tx.execute("SELECT sum(failures) AS failures FROM failed_logins").fetchone()
    assert row is not None
    assert row["failures"] == 3 * 8 * 20


def test_old_rows_are_swept_and_new_ones_stay(database: Database) -> None:
    with database.transaction() as tx:
        note_pair(tx, Attempt("old", "192.0.2.1"))
        tx.execute("UPDATE failed_logins SET last_at = now() - interval '901 seconds'")
        note_pair(tx, Attempt("new", "192.0.2.1"))
        assert sweep(tx) == 1
    assert rows(database) == 1


def test_however_many_names_are_guessed_the_oldest_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed_logins, "MOST_ROWS", 5)
    for number in range(12):
        with database.transaction() as tx:
            note_pair(tx, Attempt(f"name {number}", "192.0.2.1"))
    with database.transaction() as tx:
        assert sweep(tx) == 7
    with database.transaction() as tx:
        assert sweep(tx) == 0
    with database.transaction() as tx:
        kept = tx.execute("SELECT key FROM failed_logins").fetchall()
    assert {row["key"] for row in kept} == {Attempt(f"name {number}", "192.0.2.1").pair_key for number in range(7, 12)}
