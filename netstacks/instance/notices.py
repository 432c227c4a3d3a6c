"""Notices by mail: queued in PostgreSQL, where all instances that see an event queue one, and sent by one of them."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from netstacks import greenlets
from netstacks.cluster.model import Event
from netstacks.crypto.license import GRACE, Grant
from netstacks.errors import InvalidInput, NetstacksError, NotFound, RegistryUnavailable, StoreUnavailable
from netstacks.instance import mail
from netstacks.instance.current_settings import CurrentSettings
from netstacks.instance.mail import MailFailed, MailServer
from netstacks.instance.observer import SEARCHED_EVENTS
from netstacks.registry.base import Registry
from netstacks.store import notices, system_settings
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.notices import QueuedNotice
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import read_one_state
from netstacks.store.setting_definitions import (
    MAIL_DISK_FULL,
    MAIL_FROM,
    MAIL_HOST,
    MAIL_INSTANCE_LOST,
    MAIL_LICENSE,
    MAIL_PASSWORD,
    MAIL_PORT,
    MAIL_PROVIDER_OPEN,
    MAIL_SECURITY,
    MAIL_TO,
    MAIL_USERNAME,
)
from netstacks.store.setting_types import Setting
from netstacks.store.system_settings import understood
from netstacks.store.vault import Vault

log = structlog.get_logger()

LOOK_SECS = 10.0
# Longer than sending may take: an instance that dies meanwhile leaves the notice to another one after this time.
_LEASE_SECS = 300.0
_FIRST_WAIT_SECS, _MAX_WAIT_SECS = 30.0, 3600.0
_LICENSE_SECS = 600.0
# The same event of one instance or provider is one notice in this time.
_QUIET_SECS = 3600
# An instance that starts looks at the events of this time, which no other one may have seen.
_LOOK_BACK_SECS = 600.0


class Notices:
    """Nothing here blocks its caller. `current_grant` may wait for PostgreSQL."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        settings: CurrentSettings,
        registry: Registry,
        deferred_writes: DeferredWrites,
        current_grant: Callable[[], Grant],
        *,
        instance_id: str,
    ) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._registry = registry
        self._deferred_writes = deferred_writes
        self._current_grant = current_grant
        self._instance_id = instance_id
        self._seen_until: float | None = None
        """The time of the last event that was looked at, by the registry's clock."""
        self._sending = greenlets.Periodic("notices", self.look, LOOK_SECS)
        self._judging = greenlets.Periodic("notices-licence", self.look_at_licence, _LICENSE_SECS)

    def start(self) -> None:
        self._sending.start()
        self._judging.start()

    def background(self) -> tuple[greenlets.Background, ...]:
        return self._sending, self._judging

    # Events.

    def look_at_events(self) -> None:
        """Queues notices of the cluster's events since the last look. Raises RegistryUnavailable."""
        if not self._settings.get(MAIL_HOST):
            self._seen_until = None
            return
        if self._seen_until is None:
            self._seen_until = self._registry.now() - _LOOK_BACK_SECS
        events = self._registry.events()
        # Each session of a lost instance makes an event: there may be more new ones than the usual number.
        if events and events[-1].at > self._seen_until:
            events = self._registry.events(SEARCHED_EVENTS)
        for event in reversed(events):
            if event.at > self._seen_until:
                self._take_event(event)
                self._seen_until = event.at

    def _take_event(self, event: Event) -> None:
        # The time of an event is part of its key, the same on all instances.
        instance_id, details, window = event.instance_id, event.details, int(event.at // _QUIET_SECS)
        match event.kind:
            case "reaped" if self._settings.get(MAIL_INSTANCE_LOST):
                text = f"The instance {instance_id} was declared dead. Its sessions go on at other instances."
                self._put(f"reaped {instance_id} {window}", f"Instance {instance_id} is lost", text)
            case "disk_low" if self._settings.get(MAIL_DISK_FULL):
                problem = details.get("problem", "the disk of SPOOL_DIR is nearly full")
                text = f"On the instance {instance_id}, {problem}."
                self._put(f"disk {instance_id} {window}", f"The disk of {instance_id} is nearly full", text)
            case "breaker" if details.get("circuit") == "open" and self._settings.get(MAIL_PROVIDER_OPEN):
                name = details.get("provider", "a language model")
                text = f"Calls to {name} have stopped, because too many of them failed."
                self._put(f"breaker {name} {window}", f"Calls to {name} have stopped", text)

    def look_at_licence(self) -> None:
        """Queues one notice when the licence will expire soon, one when it has, and one at the end of its grace."""
        if not self._settings.get(MAIL_LICENSE):
            return
        grant = self._current_grant()
        if grant.license is None or grant.warning_level == "none":
            return
        expires_on = f"{grant.license.expires_at:%Y-%m-%d}"
        if grant.status == "active":
            what, text = "The licence expires soon", f"The licence expires on {expires_on}."
        elif grant.status == "grace":
            until = f"{grant.license.expires_at + GRACE:%Y-%m-%d}"
            what = "The licence has expired"
            text = f"The licence expired on {expires_on}. It stays in force until {until}."
        else:
            what = "The licence is not in force any more"
            text = f"The licence expired on {expires_on}, and so has its grace period."
        self._put(f"licence {grant.status} {expires_on}", what, f"{text} Activate a new one: Admin, Licence.")

    def _put(self, key: str, subject: str, text: str) -> None:
        if self._settings.get(MAIL_HOST):
            body = f"{text}\n\nReported by {self._instance_id} on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC.\n"
            self._deferred_writes.put(notices.put, key, f"NetStacks Controller: {subject}", body)

    # Sending.

    def look(self) -> None:
        """Queues what has happened, and sends what is due."""
        with contextlib.suppress(RegistryUnavailable):
            self.look_at_events()
        self.send_due()

    def send_due(self) -> None:
        """Sends the notices that are due, one after the other."""
        if not self._settings.get(MAIL_HOST):
            return
        try:
            with self._database.transaction() as tx:
                notices.sweep(tx)
            while (notice := self._take()) is not None:
                self._send(notice)
        except StoreUnavailable as error:
            log.debug("notices.wait", error=str(error))

    def _take(self) -> QueuedNotice | None:
        with self._database.transaction() as tx:
            return notices.take(tx, _LEASE_SECS)

    def _send(self, notice: QueuedNotice) -> None:
        try:
            problem = mail.send(self._server(), notice.subject, notice.body)
        except StoreUnavailable:
            raise
        except NetstacksError as error:
            wait_secs = min(_MAX_WAIT_SECS, _FIRST_WAIT_SECS * 2**notice.attempts)
            log.warning("notice.not_sent", key=notice.key, attempts=notice.attempts, error=str(error))
            with self._database.transaction() as tx:
                notices.note_failed(tx, notice.key, str(error), wait_secs)
        else:
            if problem:
                log.warning("notice.refused", key=notice.key, problem=problem)
            else:
                log.info("notice.sent", key=notice.key)
            with self._database.transaction() as tx:
                notices.note_sent(tx, notice.key, problem)

    def send_test(self, by: str) -> MailServer:
        """Sends a test message now. Raises InvalidInput when a setting is missing, MailFailed, VaultLocked.

        MailFailed also when the server has refused some of the recipients.
        """
        server = self._server()
        text = f"{by} has sent this test message from the instance {self._instance_id}. Notices arrive at this address."
        problem = mail.send(server, "NetStacks Controller: test message", f"{text}\n")
        if problem:
            raise MailFailed(problem)
        return server

    def _server(self) -> MailServer:
        """The mail server of the stored settings; the settings in memory may be older than the stored password."""
        with self._database.transaction() as tx:
            # Both are read of one state: the password of one server must never be sent to another.
            read_one_state(tx)
            stored = system_settings.stored(tx)
            for setting in (MAIL_HOST, MAIL_FROM, MAIL_TO):
                if not understood(setting, stored):
                    raise _empty(setting)
            needs_password = understood(MAIL_USERNAME, stored) and understood(MAIL_SECURITY, stored) != "none"
            password = self._password(tx) if needs_password else ""
        return MailServer(
            host=understood(MAIL_HOST, stored),
            port=understood(MAIL_PORT, stored),
            security=understood(MAIL_SECURITY, stored),
            sender=understood(MAIL_FROM, stored),
            recipients=[each.strip() for each in understood(MAIL_TO, stored).split(",")],
            username=understood(MAIL_USERNAME, stored),
            password=password,
        )

    def _password(self, tx: Transaction) -> str:
        try:
            return system_settings.open_secret(tx, self._vault, MAIL_PASSWORD)
        except NotFound:
            raise _empty(MAIL_PASSWORD) from None


def _empty(setting: Setting[str]) -> InvalidInput:
    return InvalidInput(f"the setting {setting.title} in the section Mail is empty: set it first")
