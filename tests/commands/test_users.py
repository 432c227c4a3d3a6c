"""`netstacks users`: users without the web."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from netstacks.commands.users import users_group
from netstacks.crypto.passwords import is_password
from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.permissions import Reach, Role
from netstacks.store import audit, logins, roles, users
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from tests.postgres import Postgres

Run = Callable[..., Result]

PASSWORD = "correct horse battery"


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    database.open()
    # The first connection may take longer than a transaction waits for one.
    database._pool.wait(60)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def run(url: str, database: Database) -> Run:
    """`run("create", "lee", ..., typed="password")`: the password is typed twice."""
    environment = {"DATABASE_URL": url, "VAULT_MASTER_KEY": "5e" * 32, "JWT_SECRET": "s" * 32}

    def run(*arguments: str, typed: str = PASSWORD) -> Result:
        return CliRunner().invoke(users_group, arguments, input=f"{typed}\n{typed}\n", env=environment)

    return run


def stored(database: Database, name: str) -> tuple[users.User, str]:
    with database.transaction() as tx:
        found = users.by_login_name(tx, name)
    assert found is not None
    return found


def test_a_user_is_created_with_the_typed_password(run: Run, database: Database) -> None:
    result = run("create", "lee", "--role", "operator", "--email", "lee@example.net")
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    user, password_hash = stored(database, "lee@example.net")
    assert (user.username, user.role) == ("lee", "operator")
    assert is_password(PASSWORD, password_hash)
    with database.transaction() as tx:
        [row] = audit.list_page(tx, event="user.created")
    assert (row["actor"], row["resource"]) == ("system", f"user:{user.id}")


def test_a_taken_name_is_refused(run: Run) -> None:
    run("create", "lee", "--role", "operator")
    assert isinstance(run("create", "LEE", "--role", "viewer").exception, Conflict)


@pytest.mark.parametrize(
    ("role", "typed", "said"),
    [("operator", "password1", "common"), ("operator", "lee12345", "common"), ("admin", "seven lamps", "12 to 1024")],
)
def test_a_bad_password_is_refused_and_no_user_created(
    run: Run, database: Database, role: str, typed: str, said: str
) -> None:
    refused = run("create", "lee", "--role", role, typed=typed).exception
    assert isinstance(refused, InvalidInput)
    assert said in str(refused)
    with database.transaction() as tx:
        assert users.list_all(tx) == []


def test_an_administrators_new_password_must_be_long(run: Run, database: Database) -> None:
    run("create", "kim", "--role", "admin")
    assert isinstance(run("passwd", "kim", typed="seven lamps").exception, InvalidInput)
    assert is_password(PASSWORD, stored(database, "kim")[1])


def begin_login(database: Database, user_id: UUID) -> UUID:
    with database.transaction() as tx:
        return logins.begin(tx, user_id, "page", max_days=30)


def test_a_changed_password_ends_all_log_ins(run: Run, database: Database) -> None:
    run("create", "lee", "--role", "operator")
    user, _ = stored(database, "lee")
    login_id = begin_login(database, user.id)
    result = run("passwd", "lee", typed="another password")
    assert result.exit_code == 0, result.output
    assert is_password("another password", stored(database, "lee")[1])
    with database.transaction() as tx:
        assert logins.role(tx, login_id, max_days=30) is None


def test_the_password_of_an_unknown_user_is_not_changed(run: Run) -> None:
    assert isinstance(run("passwd", "nobody").exception, NotFound)


def test_all_users_are_listed(run: Run) -> None:
    run("create", "lee", "--role", "operator")
    run("create", "kim", "--role", "admin", "--email", "kim@example.net")
    assert run("list").output.splitlines() == ["kim  admin  active  kim@example.net", "lee  operator  active  -"]


def test_a_role_is_one_of_those_that_are_stored(run: Run, database: Database) -> None:
    with database.transaction() as tx:
        core = Role("core", frozenset({"devices.*"}), Reach(frozenset({"core"}), frozenset({"Bonn"})))
        roles.create(tx, core, description="", by="a test")
    assert run("roles").output.splitlines()[-1] == "core  devices.*  devices with tag core, site Bonn"
    assert run("create", "lee", "--role", "core").exit_code == 0
    refused = run("create", "kim", "--role", "king").exception
    assert isinstance(refused, InvalidInput)
    assert str(refused) == "there is no role king: the roles are admin, operator, viewer, core"


@pytest.mark.parametrize("command", [["users", "list"], ["vault", "status"], ["recordings", "verify"]])
def test_a_database_without_a_schema_is_one_line(url: str, command: list[str]) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "VAULT_MASTER_KEY": "5e" * 32, "JWT_SECRET": "s" * 32}
    answer = subprocess.run(
        [sys.executable, "-m", "netstacks", *command], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("netstacks: the database is empty: start a controller")


def test_an_older_or_newer_schema_is_told(run: Run, database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("INSERT INTO schema_migrations (version, name) VALUES (9999, 'from the future')")
        tx.execute("UPDATE settings SET value = '9999' WHERE key = 'schema.oldest_program'")
    assert "version 9999" in str(run("list").exception)
    with database.transaction() as tx:
        tx.execute("UPDATE schema_migrations SET version = -version")
    assert "start a controller on it first" in str(run("list").exception)
