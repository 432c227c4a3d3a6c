"""The partitions of the audit log: created ahead, dropped by retention, and the chain can be verified all the time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from netstacks.store import audit, audit_chain, audit_partitions, audit_verify, schema, settings, system_settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AUDIT_DAYS
from tests.plans import readings
from tests.postgres import Postgres
from tests.store.test_audit_chain import manipulate, problem_of, seal_all

NOW = datetime.now(UTC)


def insert(database: Database, at: datetime | str, count: int = 1) -> None:
    with database.transaction() as tx:
        for _ in range(count):
            tx.execute("INSERT INTO audit (at, actor, event, resource) VALUES (%s, 'x', 'test.event', 'x')", [at])


def create(database: Database, now: datetime = NOW) -> list[str]:
    with database.transaction() as tx:
        return audit_partitions.create_missing(tx, now)


def drop(database: Database, days: int) -> audit_partitions.Dropped | None:
    with database.transaction() as tx:
        return audit_partitions.drop_expired(tx, days)


def rows_in(database: Database, partition: str) -> int:
    with database.transaction() as tx:
        row = tx.execute(f"SELECT count(*) AS rows FROM {partition}".encode()).fetchone()
    return int(row["rows"]) if row else 0


def months_later(count: int) -> datetime:
    month = audit_partitions.month_of(NOW)
    return audit_partitions._months_later(month, count)


def replace_first(database: Database, count: int) -> None:
    """Puts months in the place of the first partition, from `count` months after this one on."""
    with database.transaction() as tx:
        tx.execute("ALTER TABLE audit DETACH PARTITION audit_first")
        tx.execute("DELETE FROM audit_partitions")
        for month in range(count, 1):
            audit_partitions._create(tx, months_later(month), months_later(month + 1))


def test_the_months_ahead_have_partitions_and_they_are_created_once(database: Database) -> None:
    # The first one, of the migration, reaches until the end of this month.
    assert create(database) == [f"audit_{months_later(count):%Y_%m}" for count in (1, 2)]
    assert create(database) == []
    insert(database, months_later(1))
    assert rows_in(database, f"audit_{months_later(1):%Y_%m}") == 1


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_partitions_are_months_of_utc_in_any_time_zone_of_the_server(
    database: Database, database_url: str, zone: str
) -> None:
    name = database_url.rpartition("/")[2]
    manipulate(database_url, f"ALTER ROLE postgres IN DATABASE {name} SET TimeZone = '{zone}'")
    in_zone = Database(database_url)
    in_zone.open()
    for count in range(14):
        create(in_zone, months_later(count) + timedelta(days=27))
    with in_zone.transaction() as tx:
        found = audit_partitions.all_partitions(tx)
    in_zone.close()
    assert [each.until for each in found] == [months_later(count) for count in range(1, 17)]
    assert [each.name for each in found[1:]] == [f"audit_{months_later(count):%Y_%m}" for count in range(1, 16)]


def test_the_events_of_a_page_are_looked_up_until_the_end_of_a_partition(database: Database) -> None:
    replace_first(database, -6)
    middle = months_later(-3) + timedelta(days=10)
    insert(database, middle)
    with database.transaction() as tx:
        (row,) = audit.list_page(tx, event="test.event")
        for end_at in (middle, str(middle)):
            _, until, last = next(audit._spans(tx, None, end_at))
            assert (until, datetime.fromisoformat(last)) == (end_at, months_later(-2) - timedelta(microseconds=1))
        # The newest rows may be of any later time.
        assert next(audit._spans(tx, None, None))[1:] == ("infinity", "infinity")
        assert audit.list_page(tx, event="test.*", before=row["id"] + 1) == [row]
        assert audit.list_page(tx, event="test.*", before=row["id"]) == []


def test_a_row_without_a_partition_is_kept_and_moved_when_its_month_gets_one(database: Database) -> None:
    insert(database, months_later(1))
    insert(database, months_later(30))
    insert(database, "infinity")
    assert rows_in(database, "audit_default") == 3
    seal_all(database)
    create(database)
    assert rows_in(database, "audit_default") == 2
    assert rows_in(database, f"audit_{months_later(1):%Y_%m}") == 1
    with database.transaction() as tx:
        assert len(audit.list_page(tx, event="test.event")) == 2  # The page ends before infinity.
    assert problem_of(audit_verify.verify(database)) is None


@pytest.mark.parametrize("statement", ["UPDATE {} SET actor = 'm'", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_partition_can_be_changed(database: Database, database_url: str, statement: str) -> None:
    (first, _) = create(database)
    for table in ("audit", "audit_first", "audit_default", first):
        with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(statement.format(table).encode())


def test_retention_drops_whole_partitions_and_the_rest_can_still_be_proven(
    database: Database, database_url: str
) -> None:
    insert(database, NOW - timedelta(days=400), 3)
    seal_all(database)
    insert(database, months_later(1), 2)
    insert(database, NOW - timedelta(days=300), 1)
    seal_all(database)
    assert drop(database, 30) is None
    age(database_url)
    create(database)
    dropped = drop(database, 30)
    assert dropped is not None
    assert (dropped.partition.name, dropped.rows) == ("audit_first", 4)
    assert drop(database, 30) is None
    verdict = audit_verify.verify(database)
    assert problem_of(verdict) is None
    assert (verdict.rows, verdict.sealed_rows, verdict.dropped_rows) == (2, 6, 4)
    with database.transaction() as tx:
        (noted,) = audit.list_page(tx, event="audit.partition_dropped")
    assert (noted["details"]["rows"], noted["details"]["retention_days"]) == (4, 30)
    seal_all(database)
    assert problem_of(audit_verify.verify(database)) is None


def age(url: str) -> None:
    """Makes the first partition one that ended half a year ago."""
    until = months_later(-6)
    manipulate(
        url,
        "ALTER TABLE audit DETACH PARTITION audit_first",
        f"ALTER TABLE audit ATTACH PARTITION audit_first FOR VALUES FROM (MINVALUE) TO ('{until.isoformat()}')",
        f"UPDATE audit_partitions SET until = '{until.isoformat()}' WHERE name = 'audit_first'",
    )


def test_the_note_of_the_last_dropped_partition_covers_those_before_it(database: Database, database_url: str) -> None:
    """A row of a clock that was ahead keeps all seals, longer than retention keeps the notes of what it has dropped."""
    replace_first(database, -6)
    insert(database, months_later(12))
    seal_all(database)
    for count in (-6, -5):
        insert(database, months_later(count), 2)
        seal_all(database)
    days_since_end = (NOW - months_later(-5)).days
    assert drop(database, days_since_end) is not None
    manipulate(database_url, f"UPDATE audit SET at = '{months_later(-5)}' WHERE event = 'audit.partition_dropped'")
    seal_all(database)
    assert drop(database, (NOW - months_later(-4)).days) is not None
    seal_all(database)
    with database.transaction() as tx:
        assert len(audit.list_page(tx, event="audit.partition_dropped")) == 1
    verdict = audit_verify.verify(database)
    assert (problem_of(verdict), verdict.dropped_rows) == (None, 5)
    manipulate(database_url, "UPDATE audit_seals SET ids = NULL, digests = NULL WHERE number = 1")
    assert problem_of(audit_verify.verify(database)) == ("removed", 1)


def test_seals_before_the_first_row_are_forgotten_but_the_one_that_the_chain_builds_on(
    database: Database, database_url: str
) -> None:
    for _ in range(3):
        insert(database, NOW - timedelta(days=400), 2)
        seal_all(database)
    age(database_url)
    create(database)
    drop(database, 30)
    seal_all(database)
    assert rows_in(database, "audit_seals") == 2
    verdict = audit_verify.verify(database)
    assert problem_of(verdict) is None
    assert (verdict.number, verdict.sealed_rows) == (4, 7)
    manipulate(database_url, "DELETE FROM audit_seals WHERE number = 3")
    problem = audit_verify.verify(database).problem
    assert problem is not None
    assert problem.kind == "chain"


def test_a_partition_with_rows_that_are_not_sealed_stays(database: Database, database_url: str) -> None:
    insert(database, NOW - timedelta(days=400))
    age(database_url)
    create(database)
    assert drop(database, 30) is None
    assert rows_in(database, "audit_first") == 1
    seal_all(database)
    assert drop(database, 30) is not None


def test_seals_that_an_attacker_has_emptied_are_found(database: Database, database_url: str) -> None:
    insert(database, NOW, 2)
    seal_all(database)
    manipulate(database_url, "UPDATE audit_seals SET ids = NULL, digests = NULL", "DELETE FROM audit")
    problem = audit_verify.verify(database).problem
    assert problem is not None
    assert problem.kind == "removed"


@pytest.mark.parametrize(("value", "days"), [(None, 0), (90, 90), (0, 0), ("90", 0), (-1, 0), (True, 0), (36_501, 0)])
def test_only_a_number_of_days_removes_rows(database: Database, value: Any, days: int) -> None:
    with database.transaction() as tx:
        if value is not None:
            settings.put(tx, AUDIT_DAYS.key, value)
        assert system_settings.get(tx, AUDIT_DAYS) == days


def test_a_log_of_the_former_version_becomes_the_first_partition(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.create_database()
    database = Database(url)
    database.open()
    known = schema.migrations()
    monkeypatch.setattr(schema, "migrations", lambda: [each for each in known if each[0] <= 20])
    schema.migrate(database)
    with psycopg.connect(url) as connection:
        insertion = (
            "INSERT INTO audit (at, actor, event, resource, details)"
            " SELECT at, 'ana', 'test.event', 'x', '{\"n\": 1}' FROM ("
            " SELECT now() - i * interval '1 hour' AS at FROM generate_series(1, 2500) i UNION ALL"
            " VALUES (now() + interval '1 year'), ('infinity'), ('-infinity')) AS times"
        )
        connection.execute(insertion.encode())
        before = connection.execute("SELECT id, audit::text FROM audit ORDER BY id").fetchall()
    monkeypatch.undo()
    schema.migrate(database)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id, audit::text FROM audit ORDER BY id").fetchall() == before
    assert (rows_in(database, "audit_first"), rows_in(database, "audit_default")) == (2501, 2)
    with database.transaction() as tx:
        audit.append(tx, audit.SYSTEM, "test.new", "x")
        (newest,) = audit.list_page(tx, event="test.new")
    assert newest["id"] > max(row[0] for row in before)
    # The old rows are sealed as well, in steps.
    assert seal_all(database) == 2504
    verdict = audit_verify.verify(database)
    assert problem_of(verdict) is None
    assert verdict.rows == 2504
    database.close()


def test_what_is_sent_next_is_found_without_reading_the_rest(database: Database, database_url: str) -> None:
    replace_first(database, -24)
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO audit (at, actor, event, resource)"
            " SELECT %s + i * interval '36 minutes', 'x', 'test.event', 'x' FROM generate_series(1, 28000) i",
            [months_later(-24)],
        )
    assert seal_all(database) == 28000
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    for position in (0, 14_321, 27_990, 50_000):
        for reading in readings(database_url, lambda tx, position=position: audit_chain.feed(tx, position, 100)):
            assert reading.rows <= 500, reading
            assert reading.pages <= 2000, reading
