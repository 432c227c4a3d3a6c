"""The master key changes while controllers run: as docs/vault.md promises, with real ones."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.controller import ROOT, Api, Controller, until
from tests.postgres import Postgres

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)
BOTH = {"VAULT_MASTER_KEY": NEW, "VAULT_MASTER_KEY_PREVIOUS": OLD}
PERSONAL = "/api/credentials/personal"


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    return postgres.create_database()


@pytest.fixture
def start(database_url: str) -> Iterator[Callable[..., Controller]]:
    """`start(**settings)`: one more controller on the same database."""
    started: list[Controller] = []

    def start(wait_for: str = "healthy", **settings: str) -> Controller:
        started.append(Controller(database_url, **settings))
        return started[-1].start(wait_for=wait_for)

    yield start
    for controller in started:
        controller.stop()


def store(api: Api, number: int) -> Any:
    body = {"name": str(number), "credential_type": "ssh_password", "username": "u", "secret": f"secret {number}"}
    return api.post(PERSONAL, body)["id"]


def reveal(api: Api, credential_id: str) -> Any:
    return api.post(f"{PERSONAL}/{credential_id}/reveal", {"reason": "test"})["secret"]


def rotate(database_url: str) -> None:
    command = [sys.executable, "-m", "netstacks", "vault", "rotate"]
    environ = {**os.environ, **BOTH, "DATABASE_URL": database_url, "JWT_SECRET": "j" * 32}
    subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, timeout=60)


def test_the_master_key_changes_without_a_secret_being_unreadable(
    start: Callable[..., Controller], database_url: str
) -> None:
    before = start(VAULT_MASTER_KEY=OLD).login()
    both = start(**BOTH).login()
    ids = [store(api, number) for number, api in enumerate([before, both] * 5)]
    secrets_stored = [f"secret {number}" for number in range(len(ids))]
    assert [reveal(before, each) for each in ids] == secrets_stored

    with ThreadPoolExecutor(1) as pool:
        rotation = pool.submit(rotate, database_url)
        while not rotation.done():
            assert [reveal(both, each) for each in ids] == secrets_stored
        rotation.result()

    after = start(VAULT_MASTER_KEY=NEW).login()
    for api in (both, after):
        assert [reveal(api, each) for each in ids] == secrets_stored
        ids.append(store(api, len(ids)))
        secrets_stored.append(f"secret {len(ids) - 1}")
    for path in (PERSONAL, f"{PERSONAL}/{ids[0]}/reveal"):
        body = {"name": "n", "credential_type": "generic_secret", "secret": "s", "reason": "r"}
        refusal = before.post(path, body, expect=503)
        assert "VAULT_MASTER_KEY is another one" in refusal["error"]


def test_a_controller_with_a_wrong_master_key_stays_up_and_says_so(start: Callable[..., Controller]) -> None:
    start(VAULT_MASTER_KEY=OLD)
    wrong = start(VAULT_MASTER_KEY=NEW, wait_for="unhealthy")
    until(lambda: "VAULT_MASTER_KEY is another one" in wrong.health().get("reason", ""), "the reason")
    assert OLD not in wrong.log()
    assert NEW not in wrong.log()
