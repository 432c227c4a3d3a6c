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
    database = Database(settings.load(os.environ).database_url, max_size=2)
    database.open()
    try:
        schema.require(database)
        yield database
    finally:
        database.close()
