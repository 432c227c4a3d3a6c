"""A controller that starts: its settings, its schema, its keys and its rights."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psycopg
import pytest

from netstacks.store.schema import migrations
from tests.acceptance.lab import make_lab
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


def test_another_master_key_is_noticed_and_nothing_is_opened(own_postgres: Postgres, sshd: Sshd) -> None:
    url = own_postgres.create_database()
    first = Controller(url).start()
    lab = make_lab(first.login(), sshd)
    first.stop()
    second = Controller(url, VAULT_MASTER_KEY="ab" * 32)
    try:
        second.start(wait_for="unhealthy")
        until(lambda: "key" in second.health().get("reason", ""), "the reason")
        api = second.login()
        terminal = api.open(lab.device, lab.credential, offset=0)
        assert terminal.closed()[0] == 4002
        assert "VAULT_MASTER_KEY" in terminal.errors[0]
        answer = api.post(
            "/api/credentials",
            {"name": "x", "credential_type": "ssh_password", "username": "x", "secret": "y"},
            expect=503,
        )
        assert "VAULT_MASTER_KEY" in answer["error"]
    finally:
        second.stop()


def test_a_database_that_is_away_at_the_start_is_waited_for(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    own_postgres.stop()
    controller = Controller(url)
    try:
        controller.start(wait_for="unhealthy")
        assert controller.health()["reason"] == "starting"
        own_postgres.start()
        until(lambda: controller.health().get("status") == "healthy", "healthy")
    finally:
        controller.stop()


def test_the_schema_is_applied_once_though_starting_instances_are_killed(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    doomed, *others = [Controller(url) for _ in range(3)]
    try:
        with ThreadPoolExecutor() as pool:
            killing = pool.submit(_start_and_kill, doomed)
            list(pool.map(lambda controller: controller.start(), others))
            killing.result()
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
        assert [version for (version,) in rows] == [version for version, *_ in migrations()]
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (1,)
    finally:
        for controller in others:
            controller.stop()


def _start_and_kill(controller: Controller) -> None:
    # It may be healthy between two looks.
    controller.launch()
    until(controller.health, "its first answer", 60)
    controller.kill()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DATABASE_URL", "mysql://root:hunter2@localhost/x"), ("LICENSE_KEY", "hunter2"), ("WEB_CONCURRENCY", "0")],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2_before_anything_listens(variable: str, value: str) -> None:
    controller = Controller("postgresql://nobody@127.0.0.1:1/x")
    controller.environ[variable] = value
    with pytest.raises(RuntimeError, match="ended with 2") as failure:
        controller.start()
    text = str(failure.value)
    assert f"netstacks: wrong settings\n{variable}" in text
    assert "hunter2" not in text
    assert "Traceback" not in text


def test_a_missing_right_at_the_start_is_named_and_a_grant_is_enough(own_postgres: Postgres) -> None:
    url = own_postgres.create_database()
    name = urlsplit(url).path.lstrip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE netstacks LOGIN")
    controller = Controller(url.replace("postgres@", "netstacks@"))
    try:
        controller.start(wait_for="unhealthy")
        until(lambda: "permission denied" in controller.health().get("reason", ""), "the reason")
        assert "CREATE" in controller.health()["reason"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("GRANT CREATE ON SCHEMA public TO netstacks")
        until(lambda: controller.health().get("status") == "healthy", f"health with {name}")
    finally:
        controller.stop()
