"""What must be true before an instance takes work: the schema is right, the master key fits, somebody can log in."""

from collections.abc import Callable

import structlog

from netstacks import greenlets
from netstacks.errors import NetstacksError, SchemaMismatch, StoreUnavailable, VaultLocked
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from netstacks.store.vault import Vault

log = structlog.get_logger()

_RETRY_SECS = 1.0
_RETRY_MISFIT_SECS = 10.0


class Startup:
    """Tries until it succeeds: an instance whose database is away waits for it instead of dying."""

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

    def start(self) -> None:
        greenlets.spawn("startup", self._run)

    def _run(self) -> None:
        while not self.ready:
            try:
                migrate(self._database)
                self._vault.unlock()
                self._prepare()
                self.ready = True
                self.problem = None
            except (SchemaMismatch, VaultLocked) as error:
                self._report(str(error))
                greenlets.sleep(_RETRY_MISFIT_SECS)
            except StoreUnavailable as error:
                log.warning("startup.waiting", error=str(error))
                greenlets.sleep(_RETRY_SECS)
            except NetstacksError as error:
                self._report(str(error))
                greenlets.sleep(_RETRY_MISFIT_SECS)
        self._on_ready()
        log.info("instance.ready")

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            log.error("startup.unfit", problem=problem)
