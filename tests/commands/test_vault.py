"""`netstacks vault` as an operator runs it: the change from one master key to the next."""

import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from netstacks.store import credentials
from netstacks.store.credentials import Secrets
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from netstacks.store.vault import Vault
from tests.postgres import Postgres

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A database with two secrets sealed by OLD."""
    url = postgres.create_database()
    database = Database(url)
    database.open()
    # The first connection may take longer than a transaction waits for one.
    database._pool.wait(60)
    migrate(database)
    vault = Vault(database, OLD)
    vault.unlock()
    with database.transaction() as tx:
        sealed = Secrets("pa55word", enable_secret="enable-pa55word")
        credentials.create(tx, vault, sealed, name="c", credential_type="ssh_password", username="u")
    yield url
    database.close()


def netstacks(url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"DATABASE_URL": url, "JWT_SECRET": "j" * 32, **environment}
    command = [sys.executable, "-m", "netstacks", "vault", *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)


def test_rotate_seals_everything_with_the_new_key(url: str) -> None:
    both = {"VAULT_MASTER_KEY": NEW, "VAULT_MASTER_KEY_PREVIOUS": OLD}
    before = netstacks(url, "status", **both)
    assert before.stdout.split(maxsplit=1)[1] == "current  held  2 secrets\n"
    rotated = netstacks(url, "rotate", **both)
    assert rotated.returncode == 0, rotated.stderr
    assert "\nresealed 2 secrets" in rotated.stdout
    assert netstacks(url, "rotate", VAULT_MASTER_KEY=NEW).stdout.startswith("resealed 0 secrets")
    assert netstacks(url, "status", VAULT_MASTER_KEY=NEW).stdout.endswith("current  held  2 secrets\n")
    assert netstacks(url, "status", VAULT_MASTER_KEY=OLD).stdout.endswith("current  not held  2 secrets\n")


def test_rotate_without_the_previous_key_is_refused_in_one_line(url: str) -> None:
    refused = netstacks(url, "rotate", VAULT_MASTER_KEY=NEW)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("netstacks: sealed with the vault key")
    assert NEW not in refused.stdout + refused.stderr
