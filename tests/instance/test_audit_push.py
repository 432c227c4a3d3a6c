"""The rules of the delivery to targets, and the upkeep of the log; real receivers are in tests/acceptance."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netstacks.instance import audit_push
from netstacks.instance.audit_push import AuditPush
from netstacks.instance.audit_syslog import DeliveryFailed, message
from netstacks.instance.audit_upkeep import AuditUpkeep
from netstacks.store import audit, audit_targets, settings
from netstacks.store.audit_targets import Target
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import AUDIT_DAYS
from netstacks.store.vault import Vault
from tests.audit_receivers import parsed
from tests.store.test_audit_chain import manipulate, seal_all, write
from tests.store.test_audit_partitions import age, insert
from tests.waits import until


@pytest.fixture
def vault(database: Database) -> Vault:
    vault = Vault(database, "5e" * 32)
    vault.unlock()
    return vault


@pytest.fixture
def add(database: Database, vault: Vault) -> Callable[..., Target]:
    def add(name: str = "SIEM", **facts: Any) -> Target:
        with database.transaction() as tx:
            given = {"type": "syslog_tcp", "address": "192.0.2.1:514", "ca": None, "is_enabled": True, **facts}
            return audit_targets.create(tx, vault, None, name=name, **given)

    return add


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """The name of the target and the positions of each batch."""
    sent: list[tuple[str, list[int]]] = []

    def send(target: Target, rows: Sequence[dict[str, Any]], secret: str | None) -> None:
        sent.append((target.name, [row["position"] for row in rows]))

    monkeypatch.setattr(audit_push, "send", send)
    return sent


def state(database: Database, target: Target) -> Target:
    with database.transaction() as tx:
        return audit_targets.find(tx, target.id)


def test_a_target_gets_what_is_sealed_after_it_was_added_once_and_in_order(
    database: Database, vault: Vault, add: Callable[..., Target], sent: list[tuple[str, list[int]]]
) -> None:
    write(database, 3)
    seal_all(database)
    target = add()
    write(database, 450)
    seal_all(database)
    push = AuditPush(database, vault, "ctrl-a")
    push.look()
    until(lambda: state(database, target).waiting == 0, "the delivery")
    assert [number for _, batch in sent for number in batch] == list(range(3, 453))
    assert max(len(batch) for _, batch in sent) == 200
    push.look()
    assert len(sent) == 3


def test_a_target_without_rows_is_not_written_to(database: Database, add: Callable[..., Target]) -> None:
    add()
    with database.transaction() as tx:
        assert audit_targets.lease(tx, "ctrl-a", []) == []
    with database.transaction() as tx:
        # Each lock of a row writes to it.
        assert tx.execute("SELECT xmax::text AS lock FROM audit_targets").fetchone() == {"lock": "0"}


def test_an_instance_does_not_take_a_target_that_another_one_serves_until_its_lease_ends(
    database: Database,
    database_url: str,
    vault: Vault,
    add: Callable[..., Target],
    sent: list[tuple[str, list[int]]],
) -> None:
    target = add()
    write(database, 1)
    seal_all(database)
    with database.transaction() as tx:
        assert [each.id for each in audit_targets.lease(tx, "ctrl-dead", [])] == [target.id]
    push = AuditPush(database, vault, "ctrl-b")
    push.look()
    assert push._busy == set()
    manipulate(database_url, "UPDATE audit_targets SET leased_until = now() - interval '1 second'")
    push.look()
    until(lambda: sent == [("SIEM", [0])], "the delivery by the other one")
    with database.transaction() as tx:
        # What the first one had under way counts no more.
        assert not audit_targets.note_delivered(tx, target.id, "ctrl-dead", 0, 1)
        assert audit_targets.renew(tx, target.id, "ctrl-dead") is None


def test_a_failing_target_is_tried_again_later_and_the_log_says_so_once(
    database: Database,
    database_url: str,
    vault: Vault,
    add: Callable[..., Target],
    sent: list[tuple[str, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = add()
    write(database, 1)
    seal_all(database)
    deliver = audit_push.send

    def refuse(*_: object) -> None:
        raise DeliveryFailed("it is away")

    monkeypatch.setattr(audit_push, "send", refuse)
    push = AuditPush(database, vault, "ctrl-a")
    for failures in (*range(1, 8), 5000):
        manipulate(database_url, f"UPDATE audit_targets SET due_at = now(), failures = {failures - 1}")
        push.look()
        until(lambda failures=failures: state(database, target).failures == failures, "the failure")
        until(lambda: not push._busy, "the end of the attempt")
    push.look()
    assert not push._busy  # It is not due.
    assert state(database, target).problem == "it is away"
    monkeypatch.setattr(audit_push, "send", deliver)
    manipulate(database_url, "UPDATE audit_targets SET due_at = now()")
    push.look()
    until(lambda: state(database, target).problem is None, "the delivery")
    with database.transaction() as tx:
        assert [row["event"] for row in audit.list_page(tx, event="audit.push_*")] == [
            "audit.push_recovered",
            "audit.push_failing",
        ]


def test_rows_that_retention_has_removed_are_counted_and_the_rest_is_sent(
    database: Database,
    database_url: str,
    vault: Vault,
    add: Callable[..., Target],
    sent: list[tuple[str, list[int]]],
) -> None:
    target = add()
    insert(database, datetime.now(UTC) - timedelta(days=400), 5)
    seal_all(database)
    age(database_url)
    with database.transaction() as tx:
        settings.put(tx, AUDIT_DAYS.key, 90)
    AuditUpkeep(database).keep()
    seal_all(database)
    AuditPush(database, vault, "ctrl-a").look()
    until(lambda: sent, "the delivery")
    assert sent[0][1][0] == 5
    with database.transaction() as tx:
        (lost,) = audit.list_page(tx, event="audit.push_lost")
    assert (lost["resource"], lost["details"]["rows"]) == (f"audit_target:{target.id}", 5)


def test_a_message_that_is_too_long_is_cut_between_characters() -> None:
    row = audit_push.test_row() | {"details": {"text": "ä" * 5000}, "actor": "a\nb", "event": "auth.login_failed"}
    whole, cut = message(row), message(row, 2048)
    assert len(cut) <= 2048
    assert whole.startswith(cut)
    assert parsed(cut)["priority"] == "108"
    assert parsed(cut)["actor"] == "a b"
