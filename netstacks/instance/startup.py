"""The preconditions of an instance: the schema is current, the master key opens the vault, an administrator exists."""

from collections.abc import Callable

import psycopg
import structlog

from netstacks import greenlets
from netstacks.errors import NetstacksError, StoreDenied, StoreUnavailable
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from netstacks.store.vault import Vault

log = structlog.get_logger()

_RETRY_SECS = 1.0
_RETRY_MISFIT_SECS = 10.0


class Startup:
    """Retries until it succeeds: an instance without a usable database waits, and reports why, instead of exiting.

    `prepare` runs after the migration and again after each failure; `on_ready` runs once, after success.
    """

    def __init__(
        self, database: Database, vault: Vault, *, prepare: Callable[[], None], on_ready: Callable[[], None]
    ) -> None:
        self._database = database
        self._vault = vault
        self._prepare = prepare
        self._on_ready = on_ready
        self.ready = False
        self.problem: str | None = None
        """A problem that an administrator must fix, as a text; None while there is none."""
        self.background = greenlets.Background("startup", self._run)

    def start(self) -> None:
        self.background.start()

    def _run(self) -> None:
        while not self.ready:
            try:
                migrate(self._database)
                self._vault.unlock()
                self._prepare()
                self.ready = True
                self.problem = None
            except StoreDenied as error:
                self._report(f"{error}; its role needs CREATE on the schema public, or to own it")
            except StoreUnavailable as error:
                log.warning("startup.waiting", error=str(error))
                greenlets.sleep(_RETRY_SECS)
            except NetstacksError as error:
                self._report(str(error))
            except psycopg.Error as error:
                self._report(f"PostgreSQL refuses a statement: {error.diag.message_primary or type(error).__name__}")
            except Exception as error:
                log.exception("startup.failed")
                self._report(f"an unexpected error, logged by the controller: {type(error).__name__}")
        self._on_ready()
        log.info("instance.ready")

    def _report(self, problem: str) -> None:
        """Logs a new problem once, then waits before the next attempt."""
        if problem != self.problem:
            self.problem = problem
            log.error("startup.unfit", problem=problem)
        greenlets.sleep(_RETRY_MISFIT_SECS)
