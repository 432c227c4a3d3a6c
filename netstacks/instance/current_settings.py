"""The system settings as this instance has them: refreshed with each heartbeat, read without I/O."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

import structlog

from netstacks import greenlets
from netstacks.crypto.password_rules import Lengths
from netstacks.errors import StoreUnavailable
from netstacks.store import system_settings
from netstacks.store.failed_logins import Lockout
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import (
    ADMIN_PASSWORD_LENGTH,
    FREE_ATTEMPTS,
    MAX_WAIT_SECS,
    PASSWORD_LENGTH,
    SETTINGS,
)
from netstacks.store.setting_types import Setting

log = structlog.get_logger()

T = TypeVar("T")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class CurrentSettings:
    """Reads changed values at most `interval_secs` later. While PostgreSQL is unreachable, the last values count.

    `environment` has the values that environment variables set, by the key of their setting: they win.
    """

    def __init__(
        self, database: Database, *, environment: Mapping[str, Any] = _NOTHING, interval_secs: float = 5.0
    ) -> None:
        self._database = database
        self.environment = environment
        self._stored: dict[str, Any] = {}
        self._values: dict[str, Any] = {key: setting.default for key, setting in SETTINGS.items()} | dict(environment)
        self._read_anew = greenlets.SingleFlight("system-settings-read", self._read)
        self.periodic = greenlets.Periodic("system-settings", self.look, interval_secs)

    def start(self) -> None:
        self.periodic.start()

    def get(self, setting: Setting[T]) -> T:
        """The value that applies on this instance."""
        return cast(T, self._values[setting.key])

    def lockout(self) -> Lockout:
        """The limit of wrong passwords."""
        return Lockout(self.get(FREE_ATTEMPTS), self.get(MAX_WAIT_SECS))

    def password_lengths(self) -> Lengths:
        """The minimum lengths of new passwords."""
        return Lengths(self.get(PASSWORD_LENGTH), self.get(ADMIN_PASSWORD_LENGTH))

    def refresh(self) -> None:
        """Reads the stored values now. Raises StoreUnavailable."""
        self._read_anew()

    def look(self) -> None:
        """Reads the stored values now, or with the next look if PostgreSQL does not answer."""
        try:
            self.refresh()
        except StoreUnavailable as error:
            log.debug("settings.waits", error=str(error))

    def _read(self) -> None:
        with self._database.transaction() as tx:
            # All of them: they are few, and a version alone could miss transactions that commit in another order.
            stored = system_settings.stored(tx)
        if stored == self._stored:
            return
        values = {key: system_settings.understood(setting, stored) for key, setting in SETTINGS.items()}
        both = stored | self._stored
        changed = sorted(key for key in both if stored.get(key) != self._stored.get(key))
        # One assignment: a reader never sees a mixture.
        self._values, self._stored = values | dict(self.environment), stored
        log.info("settings.changed", keys=changed)


def of_environment(settings: Any) -> dict[str, Any]:
    """The values that environment variables have set, by the key of their setting."""
    return {
        key: getattr(settings, name)
        for key, setting in SETTINGS.items()
        if setting.variable and (name := setting.variable.lower()) in settings.model_fields_set
    }
