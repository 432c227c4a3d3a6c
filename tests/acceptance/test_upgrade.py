"""A rolling upgrade, and back: two versions run side by side on one database, while terminals are in use."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from netstacks import __version__
from netstacks.store import schema
from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.load import Counter, check
from tests.controller import ROOT, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd

NEXT_VERSION = "99.0.0"
# What a migration of a next version may do: add. Programs of the version before name their columns, and go on.
EXPAND = """
ALTER TABLE sessions ADD COLUMN mood text NOT NULL DEFAULT 'calm';
ALTER TABLE recording_chunks ADD COLUMN mood text;
ALTER TABLE users ADD COLUMN mood text;
ALTER TABLE logins ADD COLUMN mood text;
ALTER TABLE audit ADD COLUMN mood text;
CREATE TABLE moods (name text PRIMARY KEY);
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """This program with another version number and one more migration."""
    for name in ("netstacks", "templates", "static"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "gunicorn.conf.py", tmp_path)
    init = tmp_path / "netstacks/__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{NEXT_VERSION}"', init.read_text()))
    (tmp_path / f"netstacks/store/migrations/{schema.newest() + 1:04}_moods.sql").write_text(EXPAND)
    return tmp_path


def replace(controller: Controller, folder: Path) -> None:
    """Drains an instance and starts it with the program in a folder."""
    controller.terminate()
    assert controller.process is not None
    assert controller.process.wait(30) == 0
    controller.folder = folder
    controller.start()


def version_of(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
    assert found is not None
    return int(found[0])


# Six drains and starts, while six terminals are in use.
@pytest.mark.timeout(400)
def test_an_upgrade_and_a_downgrade_under_load_lose_no_byte(postgres: Postgres, sshd: Sshd, next_version: Path) -> None:
    with Cluster(postgres, 3) as cluster:
        lab = cluster.lab(sshd)
        counters = [
            Counter(Lab(lab.api.at(each), lab.device, lab.credential), cluster.controllers)
            for each in cluster.controllers
            for _ in range(2)
        ]
        assert version_of(cluster.database_url) == schema.newest()
        for folder, version in ((next_version, NEXT_VERSION), (ROOT, __version__)):
            for controller in cluster.controllers:
                replace(controller, folder)
                assert controller.health()["version"] == version
                cluster.gathered(3)
                until(lambda: all(each.is_attached for each in counters), "every client on some instance", 60)
                # An instance of either version shows the others, and takes log-ins, changes and questions of peers.
                api = controller.login()
                assert len(api.get("/api/v1/ha/status")["instances"]) == 3
                assert api.get("/api/devices/browse")["total"] == 1
                api.call("PUT", "/api/user-settings/upgrade", json=version)
            assert version_of(cluster.database_url) == schema.newest() + 1
        with ThreadPoolExecutor(len(counters)) as pool:
            list(pool.map(Counter.stop, counters))
        for counter in counters:
            check(counter, cluster.database_url)


def test_a_program_that_the_schema_leaves_behind_is_refused(postgres: Postgres) -> None:
    """After a migration that takes away what this version uses, which raises the setting."""
    url = postgres.create_database()
    Controller(url).start().stop()
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'contract')")
    controller = Controller(url)
    try:
        controller.start()
        controller.kill()
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE settings SET value = '9999' WHERE key = 'schema.oldest_program'")
        controller.start(wait_for="unhealthy")
        until(lambda: "9999" in controller.health().get("reason", ""), "the reason")
    finally:
        controller.stop()
