"""What commands about the cluster read from PostgreSQL."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from netstacks.cluster.instance_rows import MAX_AGE_SECS, InstanceRow
from netstacks.commands.database import unchecked
from netstacks.errors import NetstacksError
from netstacks.store import database_figures, instance_settings, llm_providers, rehearsals, sessions
from netstacks.store.database_figures import DatabaseFigures
from netstacks.store.llm_providers import StoredProvider
from netstacks.store.pool import Database
from netstacks.store.rehearsals import Proof
from netstacks.store.sessions import LostCounts
from netstacks.store.witness import Witness

_STATEMENT_SECS = 2.0


@dataclass(frozen=True)
class StoreFacts:
    """The facts; with `problem`, which says why they could not be read, all others are empty.

    `unowned` is the number of live sessions that no registered instance owns, `of_lost` the fate of the sessions of
    lost instances, `rows` those of the living instances on this database, and `backup` the last proof of a backup.
    """

    problem: str | None = None
    unowned: int | None = None
    of_lost: Mapping[str, LostCounts] = field(default_factory=dict)
    figures: DatabaseFigures | None = None
    providers: tuple[StoredProvider, ...] | None = None
    rows: tuple[InstanceRow, ...] = ()
    backup: Proof | None = None


def read(database_url: str, registered: Collection[str] | None, lost: Collection[str]) -> StoreFacts:
    """The facts for these instance ids. `registered` is None while it is not known."""
    try:
        with unchecked(database_url) as database:
            with database.transaction(timeout_secs=_STATEMENT_SECS) as tx:
                unowned = None if registered is None else sessions.unowned(tx, registered)
                of_lost = sessions.counts_of_lost(tx, lost)
                figures = database_figures.read(tx)
                providers = tuple(llm_providers.list_all(tx))
                backup = rehearsals.last(tx)
            return StoreFacts(None, unowned, of_lost, figures, providers, tuple(living_rows(database)), backup)
    except NetstacksError as error:
        return StoreFacts(f"PostgreSQL does not answer ({error})")


def living_rows(database: Database) -> list[InstanceRow]:
    """The rows of instances whose process still holds its witness lock, as far as locks can be read.

    Raises StoreUnavailable.
    """
    with database.transaction() as tx:
        rows = [each for each in instance_settings.read_all(tx) if each.age_secs <= MAX_AGE_SECS]
    witness = Witness(database.url, database, f"command-{uuid4().hex[:8]}")
    # Its own lock proves that locks can be read.
    witness.renew()
    try:
        states = witness.of_all([each.id for each in rows])
    finally:
        witness.stop()
    return [each for each in rows if states[each.id] not in ("free", "silent")]
