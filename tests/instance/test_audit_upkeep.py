"""The upkeep of the audit log, as every instance of a cluster runs it."""

from datetime import timedelta

import pytest
import structlog

from netstacks.instance import audit_upkeep
from netstacks.instance.audit_upkeep import AuditUpkeep
from netstacks.store import audit_chain, settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AUDIT_DAYS
from tests.store.test_audit_chain import manipulate, seal_all, write
from tests.store.test_audit_partitions import NOW, age, insert


def state(database: Database) -> audit_chain.State:
    with database.transaction() as tx:
        return audit_chain.state(tx)


def test_the_instances_of_a_cluster_seal_as_often_as_one_of_them_would(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_upkeep, "_PAUSE_SECS", 600.0)
    one, other = AuditUpkeep(database), AuditUpkeep(database)
    write(database, 1)
    one.seal()
    write(database, 1)
    other.seal()
    assert (state(database).number, state(database).waiting) == (1, 1)
    manipulate(database_url, "UPDATE audit_seals SET sealed_at = sealed_at - interval '601 seconds'")
    other.seal()
    assert (state(database).number, state(database).waiting) == (2, 0)


def test_a_seal_of_a_clock_that_was_ahead_delays_no_other_one(database: Database, database_url: str) -> None:
    write(database, 1)
    seal_all(database)
    manipulate(database_url, "UPDATE audit_seals SET sealed_at = sealed_at + interval '1 year'")
    write(database, 1)
    AuditUpkeep(database).seal()
    assert state(database).waiting == 0


def test_a_backlog_is_sealed_without_a_pause(database: Database) -> None:
    write(database, 2 * audit_chain.SEAL_ROWS + 1)
    AuditUpkeep(database).seal()
    assert (state(database).number, state(database).waiting) == (3, 0)


def test_partitions_are_created_and_dropped_without_the_time_limit_of_a_request(
    database: Database, database_url: str
) -> None:
    insert(database, NOW - timedelta(days=400))
    seal_all(database)
    age(database_url)
    manipulate(
        database_url,
        "CREATE TABLE limits (work text, secs integer)",
        "CREATE FUNCTION note_limit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO limits"
        " SELECT TG_OP, setting::integer / 1000 FROM pg_settings WHERE name = 'statement_timeout'; RETURN NULL; END $$",
        "CREATE TRIGGER note AFTER INSERT OR DELETE ON audit_partitions EXECUTE FUNCTION note_limit()",
    )
    with database.transaction() as tx:
        settings.put(tx, AUDIT_DAYS.key, 30)
    AuditUpkeep(database).keep()
    with database.transaction() as tx:
        limits = tx.execute("SELECT work, min(secs) AS secs FROM limits GROUP BY work ORDER BY work").fetchall()
    assert [(row["work"], row["secs"] >= 600) for row in limits] == [("DELETE", True), ("INSERT", True)]


def test_upkeep_that_the_database_does_not_finish_is_logged(database: Database, database_url: str) -> None:
    manipulate(
        database_url,
        "CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'canceled' USING ERRCODE = 'query_canceled'; END $$",
        "CREATE TRIGGER cancels BEFORE INSERT ON audit_partitions EXECUTE FUNCTION cancel()",
    )
    with structlog.testing.capture_logs() as logged:
        AuditUpkeep(database).keep()
    assert [(line["event"], line["log_level"]) for line in logged] == [("audit.not_kept", "warning")]


def test_the_end_of_the_chain_is_logged_once_an_hour(database: Database) -> None:
    write(database, 1)
    upkeep = AuditUpkeep(database)
    with structlog.testing.capture_logs() as logged:
        upkeep.seal()
        upkeep.seal()
    (head,) = [each for each in logged if each["event"] == "audit.head"]
    assert (head["seal"], head["rows"], len(head["sha256"])) == (1, 1, 64)
