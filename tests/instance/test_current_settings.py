"""What an instance takes over of changed system settings."""

import structlog

from netstacks.instance.current_settings import CurrentSettings
from netstacks.store import system_settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import MAIL_HOST, MAIL_PORT, PASSWORD_LENGTH
from netstacks.store.vault import Vault


def changed(settings: CurrentSettings) -> list[str]:
    """The keys in the log."""
    with structlog.testing.capture_logs() as lines:
        settings.refresh()
    return [key for line in lines if line["event"] == "settings.changed" for key in line["keys"]]


def test_the_log_names_the_settings_that_were_changed(database: Database) -> None:
    vault = Vault(database, "5e" * 32)
    settings = CurrentSettings(database)
    with database.transaction() as tx:
        system_settings.put(tx, MAIL_HOST, "mail.example.net", "ana")
        system_settings.put(tx, MAIL_PORT, 2525, "ana")
    assert changed(settings) == [MAIL_HOST.key, MAIL_PORT.key]
    with database.transaction() as tx:
        system_settings.put(tx, PASSWORD_LENGTH, 20, "ana")
        system_settings.remove(tx, vault, MAIL_PORT, "ana")
    assert changed(settings) == [MAIL_PORT.key, PASSWORD_LENGTH.key]
    assert changed(settings) == []
