"""`netstacks audit verify` as an operator runs it."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from netstacks.commands.audit import audit_group
from netstacks.store import audit
from netstacks.store.pool import Database
from tests.store.test_audit_chain import ids, manipulate, seal_all, write

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    def run(*words: str, url: str = database_url) -> Result:
        environ = {"DATABASE_URL": url, "VAULT_MASTER_KEY": "5e" * 32, "JWT_SECRET": "j" * 40, "VALKEY_URL": ""}
        return CliRunner().invoke(audit_group, ["verify", *words], env=environ)

    return run


def test_an_intact_log_is_told_and_noted(database: Database, run: Run) -> None:
    write(database, 3)
    seal_all(database)
    write(database, 2)
    result = run()
    assert result.exit_code == 0, result.output
    assert "3 rows compared, 3 sealed, 2 not sealed yet" in result.output
    assert "intact up to seal 1: " in result.output
    with database.transaction() as tx:
        (noted,) = audit.list_page(tx, event="audit.verified")
    assert (noted["details"]["rows"], noted["details"]["problem"]) == (3, None)


def test_a_changed_row_is_named(database: Database, database_url: str, run: Run) -> None:
    write(database, 3)
    seal_all(database)
    changed = ids(database)[1]
    manipulate(database_url, f"UPDATE audit SET actor = 'mallory' WHERE id = {changed}")
    result = run("--json")
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert (told["intact"], told["first"]["kind"], told["first"]["row_id"]) == (False, "changed", changed)
    assert run("--to", "2020-01-01").exit_code == 0
    assert run("--from", "2020-01-01").exit_code == 1


def test_a_head_from_outside_must_be_in_the_chain(database: Database, run: Run) -> None:
    write(database, 1)
    seal_all(database)
    head = json.loads(run("--json").output)["head"]
    seal_all(database)
    assert run("--head", head.upper()).exit_code == 0
    result = run("--head", "00" * 32)
    assert result.exit_code == 1
    assert "cut off" in result.output


def test_a_database_that_cannot_be_read_is_no_broken_log(run: Run) -> None:
    result = run(url="postgresql://postgres@127.0.0.1:1/none")
    assert result.exit_code == 2
