"""The hash chain over the audit log: it skips no row, whatever the order of commits, and finds every manipulation."""

import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from netstacks.store import audit, audit_chain, audit_verify
from netstacks.store.audit_verify import Verdict
from netstacks.store.pool import Database
from tests.plans import readings


def write(database: Database, count: int, event: str = "test.event") -> None:
    with database.transaction() as tx:
        for number in range(count):
            audit.append(tx, audit.SYSTEM, event, f"thing:{number}", number=number)


def seal_all(database: Database) -> int:
    """Seals until nothing waits; returns the number of rows."""
    total = 0
    while True:
        with database.transaction() as tx:
            sealed = audit_chain.seal_some(tx)
        total += sealed
        if not sealed:
            return total


def feed(database: Database) -> list[dict[str, Any]]:
    with database.transaction() as tx:
        return audit_chain.feed(tx, 0, 100_000).rows


def manipulate(url: str, *statements: str) -> None:
    """What an attacker with all rights in PostgreSQL does."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.encode())


def problem_of(verdict: Verdict) -> tuple[str, int | None] | None:
    return (verdict.problem.kind, verdict.problem.row_id) if verdict.problem else None


def ids(database: Database) -> list[int]:
    return [row["id"] for row in feed(database)]


def test_every_row_is_sealed_once_and_what_comes_later_waits(database: Database) -> None:
    write(database, 5)
    assert seal_all(database) == 5
    write(database, 2)
    verdict = audit_verify.verify(database)
    assert problem_of(verdict) is None
    assert (verdict.rows, verdict.sealed_rows, verdict.waiting_rows) == (5, 5, 2)
    assert seal_all(database) == 2
    assert [row["position"] for row in feed(database)] == list(range(7))


def test_a_row_that_is_committed_later_than_its_successors_is_sealed_after_them(
    database: Database, database_url: str
) -> None:
    with psycopg.connect(database_url) as slow:
        insert = "INSERT INTO audit (actor, event, resource) VALUES ('slow', 'test.slow', 'x') RETURNING id"
        row = slow.execute(insert).fetchone()
        assert row is not None
        write(database, 3)
        # Nothing waits for the open transaction: neither the writers nor the sealer.
        assert seal_all(database) == 3
        assert problem_of(audit_verify.verify(database)) is None
        slow.commit()
    assert seal_all(database) == 1
    found = ids(database)
    assert found[-1] == row[0] < min(found[:-1])
    assert problem_of(audit_verify.verify(database)) is None


def test_a_row_that_is_rolled_back_leaves_no_trace(database: Database, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO audit (actor, event, resource) VALUES ('x', 'x', 'x')")
        connection.rollback()
    write(database, 1)
    assert seal_all(database) == 1
    assert problem_of(audit_verify.verify(database)) is None


def test_concurrent_writers_and_sealers_neither_break_nor_skip_the_chain(database: Database, database_url: str) -> None:
    """Six writers whose transactions last for random times, some of them rolled back, beside three sealers."""
    committed: list[int] = []
    done = threading.Event()
    failures: list[BaseException] = []

    def run(function: Callable[[psycopg.Connection[Any], random.Random], None], seed: int) -> None:
        try:
            with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as connection:
                function(connection, random.Random(seed))
        except BaseException as error:
            failures.append(error)

    def append(connection: psycopg.Connection[Any], dice: random.Random) -> None:
        for _ in range(40):
            written = []
            for _ in range(dice.randint(1, 4)):
                audit.append(connection, audit.SYSTEM, "test.event", "x")
                row = connection.execute("SELECT currval('audit_id_seq') AS id").fetchone()
                assert row is not None
                written.append(row["id"])
                connection.execute("SELECT pg_sleep(%s)", [dice.random() / 200])
            if dice.random() < 0.2:
                connection.rollback()
            else:
                connection.commit()
                committed.extend(written)

    def seal(connection: psycopg.Connection[Any], dice: random.Random) -> None:
        while not done.is_set():
            audit_chain.seal_some(connection)
            connection.execute("SELECT pg_sleep(%s)", [dice.random() / 500])
            # A sealer that dies before its commit has changed nothing.
            if dice.random() < 0.2:
                connection.rollback()
            else:
                connection.commit()

    writers = [threading.Thread(target=run, args=(append, seed)) for seed in range(6)]
    sealers = [threading.Thread(target=run, args=(seal, seed)) for seed in range(3)]
    for thread in [*writers, *sealers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in sealers:
        thread.join()
    seal_all(database)
    assert failures == []
    found = ids(database)
    assert sorted(found) == sorted(committed)
    assert found != sorted(found), "no transaction was committed after one with a higher id: the test proves nothing"
    verdict = audit_verify.verify(database)
    assert problem_of(verdict) is None
    assert verdict.rows == len(committed)


def test_a_second_sealer_does_not_wait_for_the_first(database: Database, database_url: str) -> None:
    write(database, 1)
    with psycopg.connect(database_url, row_factory=psycopg.rows.dict_row) as first:
        assert audit_chain.seal_some(first) == 1
        with database.transaction() as tx:
            assert audit_chain.seal_some(tx) == 0
        # Nor does a writer.
        write(database, 1)
        first.rollback()
    assert seal_all(database) == 2


def test_each_manipulation_of_a_row_is_found_and_named(database: Database, database_url: str) -> None:
    write(database, 4)
    seal_all(database)
    first, second, third, fourth = ids(database)
    swap = (
        f"UPDATE audit SET id = -1 WHERE id = {second}; UPDATE audit SET id = {second} WHERE id = {third};"
        f"UPDATE audit SET id = {third} WHERE id = -1"
    )
    cases = {
        f"UPDATE audit SET actor = 'mallory' WHERE id = {second}": ("changed", second),
        f"UPDATE audit SET details = '{{\"number\": 1.0}}' WHERE id = {second}": ("changed", second),
        f"UPDATE audit SET at = at + interval '1 microsecond' WHERE id = {third}": ("changed", third),
        f"DELETE FROM audit WHERE id = {first}": ("removed", first),
        f"DELETE FROM audit WHERE id = {fourth}": ("removed", fourth),
        swap: ("reordered", second),
        f"INSERT INTO audit (id, actor, event, resource) VALUES ({fourth} + 1, 'm', 'm', 'm')": (
            "inserted",
            fourth + 1,
        ),
        f"INSERT INTO audit (id, actor, event, resource) VALUES ({first} - 1, 'm', 'm', 'm')": ("inserted", first - 1),
        f"INSERT INTO audit (id, actor, event, resource) VALUES ({second}, 'm', 'm', 'm')": ("inserted", second),
    }
    assert problem_of(audit_verify.verify(database)) is None
    manipulate(database_url, "CREATE TABLE kept AS TABLE audit")
    for statement, expected in cases.items():
        manipulate(database_url, statement)
        assert problem_of(audit_verify.verify(database)) == expected, statement
        manipulate(database_url, "DELETE FROM audit", "INSERT INTO audit SELECT * FROM kept")
        assert problem_of(audit_verify.verify(database)) is None


@pytest.mark.parametrize(
    ("statement", "kind", "seal"),
    [
        (
            "UPDATE audit_seals SET digests = set_byte(digests, 0, get_byte(digests, 0) # 1) WHERE number = 2",
            "chain",
            2,
        ),
        ("UPDATE audit_seals SET sha256 = '\\x00' WHERE number = 1", "chain", 1),
        ("UPDATE audit_seals SET sealed_at = sealed_at - interval '1 day' WHERE number = 3", "chain", 3),
        ("UPDATE audit_seals SET ids = NULL, digests = NULL WHERE number = 1", "removed", 1),
        ("DELETE FROM audit_seals WHERE number = 1", "chain", 1),
        ("DELETE FROM audit_seals WHERE number = 2", "chain", 2),
        ("DELETE FROM audit_seals WHERE number = 3", "chain", 3),
    ],
)
def test_a_manipulated_chain_is_found(
    database: Database, database_url: str, statement: str, kind: str, seal: int
) -> None:
    for _ in range(3):
        write(database, 2)
        seal_all(database)
    manipulate(database_url, statement)
    problem = audit_verify.verify(database).problem
    assert problem is not None
    assert (problem.kind, problem.seal) == (kind, seal)


def test_an_end_that_was_cut_off_cleanly_is_found_with_a_hash_from_outside_alone(
    database: Database, database_url: str
) -> None:
    write(database, 2)
    seal_all(database)
    kept = audit_verify.verify(database).sha256
    write(database, 2)
    seal_all(database)
    outside = audit_verify.verify(database).sha256
    last = ids(database)[-2:]
    manipulate(
        database_url,
        f"DELETE FROM audit WHERE id >= {last[0]}",
        "DELETE FROM audit_seals WHERE number = 2",
        f"UPDATE audit_chain SET number = 1, rows = 2, sha256 = '\\x{kept}'",
    )
    for head, is_there in ((kept.upper(), True), (outside, False)):
        verdict = audit_verify.verify(database, head=head)
        assert (problem_of(verdict), verdict.has_head) == (None, is_there)


def test_a_span_of_time_compares_the_rows_of_that_span_only(database: Database, database_url: str) -> None:
    write(database, 2)
    seal_all(database)
    with database.transaction() as tx:
        row = tx.execute("SELECT clock_timestamp() AS at").fetchone()
    assert row is not None
    write(database, 2)
    seal_all(database)
    changed = ids(database)[0]
    manipulate(database_url, f"UPDATE audit SET actor = 'mallory' WHERE id = {changed}")
    assert problem_of(audit_verify.verify(database, since=row["at"])) is None
    assert problem_of(audit_verify.verify(database, until=row["at"])) == ("changed", changed)


def test_rows_of_any_content_are_sealed(database: Database) -> None:
    deep = "(repeat('[', 500) || repeat(']', 500))::jsonb"
    with database.transaction() as tx:
        for at, details in (
            ("'infinity'", "'{}'"),
            ("'-infinity'", "'null'"),
            ("'294000-01-01'", "'\"text\"'"),
            ("'4000-01-01 BC'", f"jsonb_build_object('deep', {deep})"),
            ("now()", "jsonb_build_object('n', 1e400)"),
        ):
            statement = f"INSERT INTO audit (at, actor, event, resource, details) VALUES ({at}, '', '', '', {details})"
            tx.execute(statement.encode())
    assert seal_all(database) == 5
    assert problem_of(audit_verify.verify(database)) is None


def test_small_seals_are_verified_many_at_a_time(database: Database) -> None:
    for _ in range(200):
        write(database, 1)
        seal_all(database)
    before = database.statistics()["requests_num"]
    verdict = audit_verify.verify(database)
    assert (problem_of(verdict), verdict.rows, verdict.seals) == (None, 200, 200)
    assert database.statistics()["requests_num"] - before <= 10


def test_large_seals_are_verified_a_few_at_a_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verify, "_SLICE_ROWS", 5)
    for _ in range(6):
        write(database, 2)
        seal_all(database)
    seen: list[int] = []
    verdict = audit_verify.verify(database, progress=lambda done, _: seen.append(done))
    assert (problem_of(verdict), verdict.rows) == (None, 12)
    assert seen == [3, 6]


def test_the_seals_of_some_ids_are_found_without_reading_the_others(database: Database, database_url: str) -> None:
    manipulate(
        database_url,
        "INSERT INTO audit (id, actor, event, resource) SELECT i, '', '', '' FROM generate_series(1, 30000) i",
        "INSERT INTO audit_seals (number, first_row, rows, first_id, last_id, month, since, until, ids, digests,"
        " sha256, sealed_at) SELECT i, i, 1, i, i, now(), now(), now(), ARRAY[i], '', '', now()"
        " FROM generate_series(1, 30000) i",
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    query = audit_verify._SQL["unsealed"]
    for first_id in (1, 15_000, 29_000):
        ids = {"first_id": first_id, "last_id": first_id + 99}
        for reading in readings(database_url, lambda tx, ids=ids: tx.execute(query, ids)):
            assert reading.rows <= 500, reading
