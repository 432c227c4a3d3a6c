"""A controller whose database takes no writes says so, and goes on by itself when it takes them again."""

from typing import Any

import psycopg
import pytest
import requests

from tests.acceptance.lab import Lab, make_lab
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.sshd import Sshd


def set_read_only(url: str, value: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}".encode())
        # As at a failover, where the connections do not outlive the server.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def saving(lab: Lab) -> Any:
    return requests.post(
        f"{lab.api.controller.url}/api/devices",
        json={"name": "one more", "host": "192.0.2.1", "port": 22, "device_type": "linux"},
        headers={"Authorization": f"Bearer {lab.api.token}"},
        timeout=30,
    )


@pytest.fixture
def own_controller(postgres: Postgres) -> Any:
    controller = Controller(postgres.create_database()).start()
    yield controller
    controller.stop()


def test_a_read_only_database_is_degraded_with_a_reason_and_recovers(own_controller: Controller, sshd: Sshd) -> None:
    controller = own_controller
    lab = make_lab(controller.login(), sshd)
    terminal = lab.open()
    url = controller.environ["DATABASE_URL"]
    set_read_only(url, "on")
    until(lambda: controller.health().get("status") == "degraded", "degraded health")
    until(lambda: controller.health().get("reason", "").startswith("PostgreSQL is read-only"), "the reason")
    health = requests.get(f"{controller.url}/api/v1/health", timeout=30)
    assert (health.status_code, health.json()["database"], health.json()["degraded"]) == (
        200,
        "connected",
        ["database"],
    )
    assert requests.get(f"{controller.url}/api/v1/health/ready", timeout=30).status_code == 503
    refused = saving(lab)
    assert refused.status_code == 503
    assert "Nothing can be saved at the moment: PostgreSQL is read-only" in refused.json()["error"]
    assert controller.log().count("database.fault") == 1
    terminal.type("echo goes-$((6*7))-on\n")
    terminal.expect("goes-42-on")

    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    until(lambda: controller.health().get("status") == "healthy", "good health")
    until(lambda: saving(lab).status_code == 201, "a write")
    terminal.leave()


def test_one_that_starts_on_a_read_only_database_says_why_and_goes_on_later(postgres: Postgres) -> None:
    url = postgres.create_database()
    set_read_only(url, "on")
    controller = Controller(url)
    try:
        controller.launch().started("unhealthy")
        until(lambda: "PostgreSQL is read-only" in controller.health().get("reason", ""), "the reason")
        set_read_only(url, "off")
        controller.started()
    finally:
        controller.stop()
