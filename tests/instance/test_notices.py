"""Notices by mail: one for an event however many instances see it, sent by one of them, again after a failure."""

import base64
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from netstacks.crypto.license import Grant, License
from netstacks.errors import InvalidInput
from netstacks.instance.current_settings import CurrentSettings
from netstacks.instance.mail import MailFailed
from netstacks.instance.notices import Notices
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import notices, system_settings
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database, Transaction
from netstacks.store.setting_definitions import (
    MAIL_DISK_FULL,
    MAIL_FROM,
    MAIL_HOST,
    MAIL_INSTANCE_LOST,
    MAIL_PASSWORD,
    MAIL_PORT,
    MAIL_SECURITY,
    MAIL_TO,
    MAIL_USERNAME,
)
from netstacks.store.vault import Vault
from tests.certificates import Authority
from tests.smtp_server import SmtpServer

EVALUATION = Grant("evaluation", "enterprise", 10, "warning")


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def mailing(database: Database, smtp: SmtpServer) -> None:
    with database.transaction() as tx:
        system_settings.put(tx, MAIL_HOST, "127.0.0.1", "ana")
        system_settings.put(tx, MAIL_PORT, smtp.port, "ana")
        system_settings.put(tx, MAIL_SECURITY, "none", "ana")
        system_settings.put(tx, MAIL_FROM, "n@x.net", "ana")
        system_settings.put(tx, MAIL_TO, "a@x.net", "ana")


class Instance:
    """One instance; all of a test share database and registry."""

    def __init__(self, name: str, database: Database, registry: MemoryRegistry, grant: Grant = EVALUATION) -> None:
        self.settings = CurrentSettings(database)
        self.settings.refresh()
        self.vault = Vault(database, "5e" * 32)
        self.vault.unlock()
        self.writes = DeferredWrites(database)
        self.writes.start()
        self.grant = grant
        self.notices = Notices(
            database, self.vault, self.settings, registry, self.writes, lambda: self.grant, instance_id=name
        )

    def look(self) -> None:
        """Queues what has happened, and sends it."""
        self.notices.look_at_events()
        self.notices.look_at_licence()
        assert self.writes.flush(60)
        self.notices.send_due()


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


def subjects(smtp: SmtpServer) -> list[str]:
    return [str(each.message["Subject"]).removeprefix("NetStacks Controller: ") for each in smtp.mails]


@pytest.mark.usefixtures("mailing")
def test_an_event_that_all_instances_see_is_one_mail(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer
) -> None:
    instances = [Instance(name, database, registry) for name in ("a", "b", "c")]
    registry.record_event("reaped", "ctrl-1", by="b", proof="silence")
    registry.record_event("joined", "ctrl-2")
    for each in [*instances, *instances]:
        each.look()
    assert subjects(smtp) == ["Instance ctrl-1 is lost"]
    [taken] = smtp.mails
    assert taken.recipients == ["a@x.net"]
    assert "Reported by a on " in taken.message.get_content()


@pytest.mark.usefixtures("mailing")
def test_a_lost_instance_is_told_however_many_sessions_were_lost(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer
) -> None:
    instance = Instance("a", database, registry)
    registry.record_event("joined", "ctrl-1")
    instance.look()
    registry.record_event("reaped", "ctrl-1", by="b", proof="silence")
    for _ in range(300):
        registry.record_event("claimed", "ctrl-2")
    instance.look()
    assert subjects(smtp) == ["Instance ctrl-1 is lost"]


@pytest.mark.usefixtures("mailing")
def test_each_kind_of_event_has_its_words(database: Database, registry: MemoryRegistry, smtp: SmtpServer) -> None:
    instance = Instance("a", database, registry)
    registry.record_event("disk_low", "ctrl-1", problem="the disk of SPOOL_DIR has 3 MB free")
    registry.record_event("breaker", "ctrl-1", circuit="open", provider="claude", model="m")
    registry.record_event("breaker", "ctrl-1", circuit="closed", provider="claude", model="m")
    instance.look()
    assert sorted(subjects(smtp)) == ["Calls to claude have stopped", "The disk of ctrl-1 is nearly full"]


@pytest.mark.usefixtures("mailing")
def test_a_kind_that_is_off_sends_nothing(database: Database, registry: MemoryRegistry, smtp: SmtpServer) -> None:
    with database.transaction() as tx:
        system_settings.put(tx, MAIL_INSTANCE_LOST, value=False, by="ana")
        system_settings.put(tx, MAIL_DISK_FULL, value=False, by="ana")
    instance = Instance("a", database, registry)
    registry.record_event("reaped", "ctrl-1", by="b", proof="silence")
    registry.record_event("disk_low", "ctrl-1")
    instance.look()
    assert smtp.mails == []


@pytest.mark.parametrize(
    ("days", "status", "subject"),
    [
        (20, "active", "The licence expires soon"),
        (-2, "grace", "The licence has expired"),
        (-20, "expired", "The licence is not in force any more"),
    ],
)
@pytest.mark.usefixtures("mailing")
def test_the_licence_is_told_once(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer, days: int, status: Any, subject: str
) -> None:
    now = datetime.now(UTC)
    license = License("ACME", "enterprise", 5, now, now + timedelta(days=days))
    grant = Grant(status, "enterprise", 5, "warning", license)
    for name in ("a", "b"):
        Instance(name, database, registry, grant).look()
    assert subjects(smtp) == [subject]
    assert f"{license.expires_at:%Y-%m-%d}" in smtp.mails[0].message.get_content()


@pytest.mark.usefixtures("mailing")
def test_a_failure_is_repeated_later_and_given_up_at_last(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer
) -> None:
    instance = Instance("a", database, registry)
    smtp.answers = {"DATA": "451 later"}
    registry.record_event("reaped", "ctrl-1", by="b", proof="silence")
    instance.look()
    row = the_row(database)
    assert "451 later" in row["problem"]
    assert (row["attempts"], row["sent_at"]) == (1, None)
    instance.look()  # It is not due yet.
    assert the_row(database)["attempts"] == 1
    smtp.answers = {}
    make_due(database)
    instance.look()
    assert len(smtp.mails) == 1
    assert the_row(database)["sent_at"] is not None
    with database.transaction() as tx:
        tx.execute("UPDATE notices SET sent_at = NULL, attempts = %s", [notices.MAX_ATTEMPTS])
    make_due(database)
    instance.look()
    assert len(smtp.mails) == 1


@pytest.mark.usefixtures("mailing")
def test_a_notice_that_some_recipients_do_not_get_is_sent_once(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer
) -> None:
    with database.transaction() as tx:
        system_settings.put(tx, MAIL_TO, "a@x.net, b@x.net", "ana")
    smtp.answers = {"rcpt TO:<b@x.net>": "550 unknown"}
    instance = Instance("a", database, registry)
    registry.record_event("reaped", "ctrl-1", by="b", proof="silence")
    instance.look()
    row = the_row(database)
    assert row["sent_at"] is not None
    assert "b@x.net: 550 unknown" in row["problem"]
    make_due(database)
    instance.look()
    assert [each.recipients for each in smtp.mails] == [["a@x.net"]]
    with pytest.raises(MailFailed, match="550 unknown"):
        instance.notices.send_test("ana")


@pytest.mark.usefixtures("mailing")
def test_what_an_instance_has_taken_no_other_one_takes_until_it_must_have_died(database: Database) -> None:
    with database.transaction() as tx:
        notices.put(tx, "k", "s", "b")
        assert notices.take(tx, 60.0) is not None
        assert notices.take(tx, 60.0) is None
    make_due(database)
    with database.transaction() as tx:
        again = notices.take(tx, 60.0)
    assert again is not None
    assert again.attempts == 2


def test_the_queue_is_bounded(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(notices.MAX_WAITING + 5):
            notices.put(tx, f"k{number}", "s", "b")
        row = tx.execute("SELECT count(*) AS n FROM notices").fetchone()
    assert row is not None
    assert row["n"] == notices.MAX_WAITING


def test_without_a_server_nothing_is_queued(database: Database, registry: MemoryRegistry) -> None:
    instance = Instance("a", database, registry)
    registry.record_event("reaped", "ctrl-1", by="b", proof="silence")
    instance.look()
    with database.transaction() as tx:
        assert tx.execute("SELECT FROM notices").fetchone() is None
    with pytest.raises(InvalidInput, match="Mail server"):
        instance.notices.send_test("ana")


@pytest.fixture
def with_log_in(smtp: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
    """The server has STARTTLS, and requires a log-in."""
    authority = Authority(tmp_path)
    smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    smtp.tls.load_cert_chain(*authority.issue("127.0.0.1"))
    smtp.password = "s3cret"
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    with database.transaction() as tx:
        system_settings.put(tx, MAIL_SECURITY, "starttls", "ana")
        system_settings.put(tx, MAIL_USERNAME, "us", "ana")


@pytest.mark.usefixtures("mailing", "with_log_in")
def test_the_password_comes_from_the_vault(database: Database, registry: MemoryRegistry, smtp: SmtpServer) -> None:
    instance = Instance("a", database, registry)
    with database.transaction() as tx:
        system_settings.put_secret(tx, instance.vault, MAIL_PASSWORD, "s3cret", "ana", seen=None)
    assert instance.notices.send_test("ana").recipients == ["a@x.net"]
    assert len(smtp.logins) == 1
    assert "ana has sent this test message" in smtp.mails[0].message.get_content()


@pytest.mark.usefixtures("mailing", "with_log_in")
def test_a_password_that_is_missing_is_named(database: Database, registry: MemoryRegistry, smtp: SmtpServer) -> None:
    with pytest.raises(InvalidInput, match="the setting Password in the section Mail is empty"):
        Instance("a", database, registry).notices.send_test("ana")
    assert smtp.logins == []


@pytest.mark.usefixtures("mailing", "with_log_in")
def test_a_password_is_sent_to_the_server_of_now_only(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer
) -> None:
    instance = Instance("a", database, registry)
    with SmtpServer() as newer:
        newer.tls, newer.password = smtp.tls, "s3cret"
        with database.transaction() as tx:
            system_settings.put(tx, MAIL_PORT, newer.port, "ana")
            system_settings.put_secret(tx, instance.vault, MAIL_PASSWORD, "s3cret", "ana", seen=None)
        # The instance has not read the new settings yet.
        assert instance.settings.get(MAIL_PORT) == smtp.port
        instance.notices.send_test("ana")
        assert (len(smtp.logins), len(newer.logins)) == (0, 1)


@pytest.mark.usefixtures("mailing", "with_log_in")
def test_a_password_does_not_go_to_the_server_before_it(
    database: Database, registry: MemoryRegistry, smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance("a", database, registry)
    read = system_settings.stored
    with database.transaction() as tx:
        system_settings.put_secret(tx, instance.vault, MAIL_PASSWORD, "former", "ana", seen=None)

    def change_after_reading(tx: Transaction) -> dict[str, Any]:
        found = read(tx)
        with database.transaction() as other:
            system_settings.put(other, MAIL_HOST, "mail.example.net", "ana")
            system_settings.put_secret(other, instance.vault, MAIL_PASSWORD, "newer", "ana", seen=None)
        return found

    monkeypatch.setattr(system_settings, "stored", change_after_reading)
    assert instance.notices.send_test("ana").host == "127.0.0.1"
    [line] = smtp.logins
    assert base64.b64decode(line.split()[-1]) == b"\0us\0former"


def the_row(database: Database) -> dict[str, Any]:
    with database.transaction() as tx:
        [row] = tx.execute("SELECT * FROM notices").fetchall()
    return row


def make_due(database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE notices SET due_at = now()")
