"""What must be true before an instance takes work: the schema is right, the master key fits, somebody can log in."""

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
    """Tries until it succeeds: an instance whose database is away, or refuses it, waits instead of dying."""

    def __init__(
        self, database: Database, vault: Vault, *, prepare: Callable[[], None], on_ready: Callable[[], None]
    ) -> None:
        self._database = database
        self._vault = vault
        self._prepare = prepare
        self._on_ready = on_ready
        self.ready = False
        self.problem: str | None = None
        """What only a person can mend, in words."""
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
                self._report(f"the database refuses: {error.diag.message_primary or type(error).__name__}")
            except Exception as error:
                log.exception("startup.failed")
                self._report(f"an unexpected error, logged by the controller: {type(error).__name__}")
        self._on_ready()
        log.info("instance.ready")

    def _report(self, problem: str) -> None:
        """Tells what is wrong, once, and tries again after a while: a person may have mended it."""
        if problem != self.problem:
            self.problem = problem
            log.error("startup.unfit", problem=problem)
        greenlets.sleep(_RETRY_MISFIT_SECS)
