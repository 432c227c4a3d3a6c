"""What every test may ask for: a real PostgreSQL server, and a migrated database of its own on it."""

import os
from collections.abc import Generator, Iterator

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
def database_url(postgres: Postgres) -> str:
    """Where the database of this test is."""
    return postgres.create_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database at the newest schema, opened."""
    database = Database(database_url)
    database.open()
    migrate(database)
    yield database
    database.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With NETSTACKS_NO_SKIP a skipped test has failed: where everything is installed, nothing may be left out."""
    report = yield
    if report.skipped and os.environ.get("NETSTACKS_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and NETSTACKS_NO_SKIP is set: {report.longrepr}"
    return report
