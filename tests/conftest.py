"""Fixtures for every test: a real PostgreSQL server, and a migrated database of its own on it."""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from tests.postgres import Postgres
from tests.sshd import SSHD, Sshd
from tests.waits import until

# Tests and their servers write to memory where there is room: a slow disk makes every commit slow.
_MEMORY = Path("/dev/shm")
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 6 * 1024**3:
    tempfile.tempdir = str(_MEMORY)

# The time of one example depends on the machine only.
hypothesis.settings.register_profile("netstacks", deadline=None)
hypothesis.settings.load_profile("netstacks")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole run."""
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, to be stopped, killed and frozen."""
    server = Postgres().start()
    yield server
    server.destroy()


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    """An OpenSSH server for the tests of one module."""
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    with Sshd() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_url(postgres: Postgres) -> str:
    """A database at the newest schema, to be copied: that is twice as fast as to migrate another."""
    url = postgres.create_database()
    _opened(url).close()
    return url


@pytest.fixture
def database_url(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of this test's database: empty, unless the test uses `database` too."""
    is_migrated = "database" in request.fixturenames
    url = postgres.create_database(copy_of=request.getfixturevalue("migrated_url") if is_migrated else None)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database at the newest schema, opened."""
    database = _opened(database_url)
    yield database
    database.close()


def _opened(url: str) -> Database:
    # A machine that pauses in a transaction, or while the first connection is made, fails no test.
    database = Database(url, idle_in_transaction_secs=60.0)
    database.open()
    until(database.ping, "the first connection")
    migrate(database)
    return database


def pytest_xdist_auto_num_workers() -> int:
    """One more worker than processors: a test of a whole cluster waits most of its time."""
    return 1 + (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spreads the files of tests/acceptance over the whole run: beside files that compute, they wait for free."""
    files = list(dict.fromkeys(item.path for item in items))
    waiting = [path for path in files if "acceptance" in path.parts]
    others = [path for path in files if "acceptance" not in path.parts]
    place = {path: number / len(part) for part in (waiting, others) for number, path in enumerate(part)}
    items.sort(key=lambda item: place[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps modules and tests, which stay to the end, from Python's search for garbage: half a second each time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With NETSTACKS_NO_SKIP a skipped test has failed: where everything is installed, nothing may be left out."""
    report = yield
    if report.skipped and os.environ.get("NETSTACKS_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and NETSTACKS_NO_SKIP is set: {report.longrepr}"
    return report
