"""The state of PostgreSQL that operators see, and the fates of the sessions of lost instances, which only it has."""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.instance.shared_query import SharedQuery
from netstacks.store import database_figures, rehearsals, sessions
from netstacks.store.database_figures import DatabaseFigures
from netstacks.store.pool import Database
from netstacks.store.rehearsals import Proof
from netstacks.store.sessions import LostCounts

# How long counts of sessions are reused, and the figures of the server, which cost more.
FRESH_SECS = 2.0
FIGURES_SECS = 5.0
# The time limit of each statement: the figures are worth no long wait.
_TIMEOUT_SECS = 2.0


@dataclass(frozen=True)
class DatabaseView:
    """The last view. While PostgreSQL does not answer, the figures of `seen_at` stay; `error` says why."""

    connection: Literal["connected", "disconnected"]
    error: str | None = None
    figures: DatabaseFigures | None = None
    seen_at: float | None = None
    """When the figures were read, by this host's clock."""
    backup: Proof | None = None
    """The last proof that a backup can be restored, as old as the figures."""
    unowned: int | None = None
    """How many live sessions no registered instance owns; None while that is not known."""
    lost_counts: Mapping[str, LostCounts] | None = field(default=None)
    """What became of the sessions of lost instances, by instance id; None while that is not known."""


NOT_ASKED = DatabaseView("disconnected", error="not queried yet")


class DatabaseLook:
    """Queries PostgreSQL on demand, through the connections of pages; concurrent requests share one query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._view = NOT_ASKED
        self._figures_at = -math.inf
        self._registered: tuple[str, ...] | None = None
        self._lost: tuple[str, ...] = ()
        self._look = SharedQuery("observer-database", self._read)

    def look(self, registered: Collection[str] | None, lost: Collection[str], patience_secs: float) -> DatabaseView:
        """The current view for these instance ids, or the last one when PostgreSQL does not answer in time.

        `registered` is None while it is not known. The object stays the same for as long as nothing is read anew.
        """
        ids = None if registered is None else tuple(sorted(registered)), tuple(sorted(lost))
        if ids != (self._registered, self._lost):
            self._registered, self._lost = ids
            self._look.expire()
        if not self._look.refresh(FRESH_SECS, patience_secs) and self._look.has_failed:
            self._lose("its answer is malformed, see the log")
        return self._view

    def _read(self) -> None:
        registered, lost = self._registered, self._lost
        try:
            with self._database.transaction(timeout_secs=_TIMEOUT_SECS) as tx:
                unowned = None if registered is None else sessions.unowned(tx, registered)
                lost_counts = sessions.counts_of_lost(tx, lost) if lost else {}
                figures = database_figures.read(tx) if self._are_figures_due() else None
                backup = rehearsals.last(tx) if figures else self._view.backup
        except StoreBusy:
            # PostgreSQL answers. The next look, which is due soon, tries again.
            self._view = replace(self._view, connection="connected", error=None)
            return
        except StoreUnavailable as error:
            self._lose(str(error))
            return
        if figures is not None:
            self._figures_at = time.monotonic()
        self._view = DatabaseView(
            "connected",
            figures=figures or self._view.figures,
            seen_at=time.time() if figures else self._view.seen_at,
            backup=backup,
            unowned=unowned,
            lost_counts=lost_counts,
        )

    def _are_figures_due(self) -> bool:
        return time.monotonic() - self._figures_at > FIGURES_SECS

    def _lose(self, error: str) -> None:
        if (self._view.connection, self._view.error) != ("disconnected", error):
            self._view = replace(self._view, connection="disconnected", error=error, unowned=None, lost_counts=None)
