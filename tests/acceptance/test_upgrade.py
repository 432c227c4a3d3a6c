"""A rolling upgrade, and back: two versions run side by side on one database, while terminals are in use."""

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from netstacks import __version__
from tests.acceptance.cluster import Cluster
from tests.acceptance.lab import Lab
from tests.acceptance.load import Counter, check
from tests.controller import ROOT, Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd

NEXT_VERSION = "99.0.0"
# Programs that know this migration run on the schema of a later one, too. Those before refuse it: they cannot return.
ROLLBACK_MIGRATION = 24
# What a migration of a next version may do: add. Programs of the version before name their columns, and go on.
EXPAND = """
ALTER TABLE sessions ADD COLUMN mood text NOT NULL DEFAULT 'calm';
ALTER TABLE recording_chunks ADD COLUMN mood text;
ALTER TABLE users ADD COLUMN mood text;
ALTER TABLE logins ADD COLUMN mood text;
ALTER TABLE audit ADD COLUMN mood text;
CREATE TABLE moods (name text PRIMARY KEY);
"""


PROGRAM = ("netstacks", "templates", "static", "gunicorn.conf.py")


def last_release() -> str | None:
    """The newest tag before this commit, before the first tag the commit before the newest migration.

    None without a repository.
    """
    before = "HEAD^" if git("tag", "--points-at", "HEAD", "v*") else "HEAD"
    return git("describe", "--tags", "--abbrev=0", "--match=v*", before) or before_newest_migration()


def before_newest_migration() -> str | None:
    (newest_file,) = (ROOT / "netstacks/store/migrations").glob(f"{newest(ROOT):04}_*.sql")
    added = git("log", "-1", "--format=%h", "--diff-filter=A", "--", str(newest_file.relative_to(ROOT)))
    return git("rev-parse", "--short", "--verify", f"{added or 'HEAD'}^")


def git(*words: str) -> str | None:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def released(tag: str, folder: Path) -> Path:
    """The program of a tag or a commit. It runs with the libraries of this version."""
    archive = subprocess.run(["git", "archive", tag, *PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def next_version(folder: Path) -> Path:
    """This program with another version number and one more migration."""
    for name in ("netstacks", "templates", "static"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "gunicorn.conf.py", folder)
    init = folder / "netstacks/__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', f'"{NEXT_VERSION}"'))
    (folder / f"netstacks/store/migrations/{newest(ROOT) + 1:04}_moods.sql").write_text(EXPAND)
    return folder


def version(folder: Path) -> str:
    (found,) = re.findall(r'^__version__ = "(.*)"', (folder / "netstacks/__init__.py").read_text(), re.MULTILINE)
    return str(found)


def newest(folder: Path) -> int:
    """The newest migration of the program in a folder."""
    return max(int(each.name[:4]) for each in (folder / "netstacks/store/migrations").glob("*.sql"))


# The former program and its successor, by the folder that the test may fill.
UPGRADES: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "from this version to the next": lambda folder: (ROOT, next_version(folder)),
}
if tag := last_release():
    UPGRADES[f"from {tag} to this version"] = lambda folder: (released(tag, folder), ROOT)


def replace(controller: Controller, folder: Path) -> None:
    """Drains an instance and starts it with the program in a folder."""
    controller.terminate()
    assert controller.process is not None
    assert controller.process.wait(60) == 0
    controller.folder = folder
    controller.start()


def version_of(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()
    assert found is not None
    return int(found[0])


# Six drains and starts, while six terminals are in use.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("upgrade", UPGRADES)
def test_an_upgrade_and_a_downgrade_under_load_lose_no_byte(
    postgres: Postgres, sshd: Sshd, tmp_path: Path, upgrade: str
) -> None:
    former, successor = UPGRADES[upgrade](tmp_path)
    cluster = Cluster(postgres, 3)
    for controller in cluster.controllers:
        controller.folder = former
    with cluster:
        lab = cluster.lab(sshd)
        counters = [
            Counter(Lab(lab.api.at(each), lab.device, lab.credential), cluster.controllers)
            for each in cluster.controllers
            for _ in range(2)
        ]
        assert version_of(cluster.database_url) == newest(former)
        for folder in (successor, former) if newest(former) >= ROLLBACK_MIGRATION else (successor,):
            for controller in cluster.controllers:
                replace(controller, folder)
                assert controller.health()["version"] == version(folder)
                cluster.gathered(3)
                until(lambda: all(each.is_attached for each in counters), "every client on some instance", 60)
                # An instance of either version shows the others, and takes log-ins, changes and questions of peers.
                api = controller.login()
                assert len(api.get("/api/v1/ha/status")["instances"]) == 3
                assert api.get("/api/devices/browse")["total"] == 1
                api.call("PUT", "/api/user-settings/upgrade", json=version(folder))
            assert version_of(cluster.database_url) == newest(successor)
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
