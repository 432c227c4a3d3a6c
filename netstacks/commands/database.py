"""The database connection of commands, configured by environment variables."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from netstacks import settings
from netstacks.store import schema
from netstacks.store.pool import Database


@contextmanager
def opened() -> Iterator[Database]:
    """The configured database, open during the block; raises SchemaMismatch when its schema is another one."""
    with unchecked(settings.load(os.environ).database_url) as database:
        schema.require(database)
        yield database


@contextmanager
def unchecked(url: str) -> Iterator[Database]:
    """The database of the URL, open during the block, whatever its schema is."""
    database = Database(url, max_size=2)
    database.open()
    try:
        yield database
    finally:
        database.close()
