"""Contacts of devices and uses of credentials: no transaction waits for the locks of another one to note them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from netstacks.permissions import EVERYWHERE
from netstacks.store import audit, credentials, device_contacts, devices
from netstacks.store.credentials import Secrets
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.device_contacts import Opening
from netstacks.store.pool import Database, Transaction
from netstacks.store.vault import Vault


@pytest.fixture
def openings(database: Database) -> list[Opening]:
    """Log-ins that have succeeded, to two devices with a credential each."""
    vault = Vault(database, "5e" * 32)
    vault.unlock()
    with database.transaction() as tx:
        return [_opening(tx, vault, name, f"192.0.2.{number}") for number, name in enumerate(("r1", "r2"), 1)]


def _opening(tx: Transaction, vault: Vault, name: str, host: str) -> Opening:
    device = devices.create(tx, name=name, host=host)
    credential = credentials.create(
        tx, vault, Secrets("s3cret"), name=name, credential_type="ssh_password", username="ada"
    )
    return Opening(device.id, name, credential.id, "lee", datetime.now(UTC), "reached")


def uses(database: Database) -> set[UUID]:
    with database.transaction() as tx:
        return {row["credential_id"] for row in tx.execute("SELECT credential_id FROM credential_uses")}


@pytest.mark.parametrize("are_used", [False, True])
def test_instances_that_note_the_same_log_ins_in_another_order_do_not_deadlock(
    database: Database, openings: list[Opening], are_used: bool
) -> None:
    first, second = openings
    if are_used:
        with database.transaction() as tx:
            device_contacts.note_opening(tx, first)
            device_contacts.note_opening(tx, second)
    with database.transaction() as one, database.transaction() as other:
        device_contacts.note_opening(one, first)
        device_contacts.note_opening(other, second)
        device_contacts.note_opening(one, second)
        device_contacts.note_opening(other, first)
    assert uses(database) == {first.credential_id, second.credential_id}
    with database.transaction() as tx:
        assert [each.contact for each in devices.list_page(tx, within=EVERYWHERE)[0]] == ["reached", "reached"]


def test_audit_rows_do_not_wait_for_a_device_that_an_import_has_locked(
    database: Database, openings: list[Opening]
) -> None:
    writes = DeferredWrites(database)
    writes.start()
    with database.transaction() as importing:
        importing.execute("SELECT FROM devices FOR UPDATE")
        for opening in openings:
            writes.put(device_contacts.note_opening, opening)
        writes.put(audit.append, audit.SYSTEM, "test.noted", "test")
        assert writes.flush(3)
        with database.transaction() as tx:
            assert audit.list_page(tx, event="test.noted")
