"""Counting wrong passwords: many at once are no more than in a row, and what is kept is bounded."""

import threading

import pytest

from netstacks.store import failed_logins
from netstacks.store.failed_logins import Attempt, forgive, note, note_pair, reserve, sweep
from netstacks.store.pool import Database, Transaction


def rows(database: Database) -> int:
    with database.transaction() as tx:
        row = tx.execute("SELECT count(*) AS count FROM failed_logins").fetchone()
    assert row is not None
    return int(row["count"])


def just_failed(tx: Transaction, where: str = "true") -> None:
    """Makes the failures those of this moment, so that a wait has all of its seconds left."""
    tx.execute(f"UPDATE failed_logins SET last_at = now() WHERE {where}")


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
        just_failed(tx)
        assert reserve(tx, attempt).wait_secs == 10


def test_one_of_many_attempts_at_the_end_of_a_wait_is_let_through(database: Database) -> None:
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
        just_failed(tx)
        assert reserve(tx, Attempt("lee", "192.0.2.1")).shared_secs == 60
        assert reserve(tx, Attempt("lee", "192.0.2.2")).shared_secs is None


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
    monkeypatch.setattr(failed_logins, "MAX_ROWS", 5)
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


def test_at_the_end_of_a_shared_wait_one_stranger_is_let_through(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(100):
            note(tx, Attempt("lee", f"192.0.2.{number}"))
        tx.execute("UPDATE failed_logins SET last_at = last_at - interval '10 seconds'")
    waits: list[int] = []

    def guess(number: int) -> None:
        with database.transaction() as tx:
            waits.append(reserve(tx, Attempt("lee", f"198.51.100.{number}")).wait_secs)

    guessing = [threading.Thread(target=guess, args=[number]) for number in range(30)]
    for each in guessing:
        each.start()
    for each in guessing:
        each.join()
    assert sorted(map(bool, waits)) == [False] + [True] * 29


def test_a_known_users_failures_do_not_prolong_a_shared_wait(database: Database) -> None:
    known = Attempt("lee", "198.51.100.1", is_known=True)
    with database.transaction() as tx:
        for number in range(100):
            note(tx, Attempt("lee", f"192.0.2.{number}"))
    with database.transaction() as tx:
        tx.execute("UPDATE failed_logins SET last_at = now() - interval '4 seconds'")
        throttle = reserve(tx, known)
        assert (throttle.wait_secs, throttle.is_for_all) == (0, False)
        assert throttle.shared_secs is not None
        assert 0 < throttle.shared_secs <= 6
        assert reserve(tx, Attempt("lee", "203.0.113.1")).wait_secs == throttle.shared_secs
        tx.execute("UPDATE failed_logins SET last_at = last_at - interval '6 seconds'")
        assert reserve(tx, known).is_for_all


def test_a_wait_of_one_of_its_limits_begins_no_wait_of_another(database: Database) -> None:
    stranger = Attempt("lee", "192.0.2.1")
    with database.transaction() as tx:
        for number in range(100):
            note(tx, Attempt("lee", f"192.0.2.{number}"))
        tx.execute("UPDATE failed_logins SET last_at = now() - interval '10 seconds' WHERE failures = 100")
        for _ in range(9):
            note_pair(tx, stranger)
    with database.transaction() as tx:
        just_failed(tx, "failures < 100")
        assert reserve(tx, stranger).wait_secs == 10
        assert reserve(tx, Attempt("lee", "203.0.113.1")).wait_secs == 0


def test_the_failures_of_an_office_are_forgotten_after_a_quarter_of_an_hour_those_of_a_user_after_a_pause(
    database: Database,
) -> None:
    with database.transaction() as tx:
        for number in range(100):
            note(tx, Attempt(f"name {number}", "192.0.2.1"))
            note(tx, Attempt("lee", f"203.0.113.{number}"))
        tx.execute("UPDATE failed_logins SET since = since - interval '901 seconds'")
    with database.transaction() as tx:
        just_failed(tx)
        assert reserve(tx, Attempt("kim", "192.0.2.1")).wait_secs == 0
        assert reserve(tx, Attempt("lee", "198.51.100.1")).wait_secs == 10


def test_one_right_password_resets_neither_the_count_of_its_address_nor_that_of_the_user_elsewhere(
    database: Database,
) -> None:
    with database.transaction() as tx:
        for number in range(100):
            note(tx, Attempt(f"name {number}", "192.0.2.1"))
            note(tx, Attempt("lee", f"198.51.100.{number}"))
        forgive(tx, Attempt("lee", "192.0.2.1", is_known=True))
    with database.transaction() as tx:
        assert reserve(tx, Attempt("kim", "192.0.2.1")).wait_secs > 0
        assert reserve(tx, Attempt("lee", "203.0.113.1")).wait_secs > 0
