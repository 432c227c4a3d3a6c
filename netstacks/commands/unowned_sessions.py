"""The sessions that no registered instance owns, which only PostgreSQL knows."""

from collections.abc import Collection, Iterator

from netstacks.commands.database import unchecked
from netstacks.store import live_sessions
from netstacks.store.live_sessions import LiveSession
from netstacks.store.pool import Database

_PAGE = 1000


def find(database_url: str, registered: Collection[str]) -> list[LiveSession]:
    """The live sessions without a registered owner, newest first. Raises StoreUnavailable."""
    with unchecked(database_url) as database:
        return [each for each in _live(database) if each.owner not in registered]


def _live(database: Database) -> Iterator[LiveSession]:
    before = None
    while True:
        with database.transaction() as tx:
            page = live_sessions.page(tx, owner=None, before=before, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].started_at
