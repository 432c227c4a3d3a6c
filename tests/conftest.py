"""What every test may ask for: a real PostgreSQL server, and a migrated database of its own on it."""

from collections.abc import Iterator

import pytest

from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from tests.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run."""
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """An empty database at the newest schema, opened."""
    database = Database(postgres.create_database())
    database.open()
    migrate(database)
    yield database
    database.close()
