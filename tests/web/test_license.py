"""Seats, and the licence as administrators see it (docs/protocol.md, 3.1 and 13)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netstacks.crypto.license import issue
from netstacks.errors import Conflict, InvalidInput
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.auth.licensing import Licensing
from netstacks.web.context import Services
from tests.crypto.test_license import PRIVATE, PUBLIC
from tests.web.conftest import PASSWORD, Api

AddUser = Callable[..., User]
LogIn = Callable[..., Api]


def a_key(*, seats: int = 2, tier: Any = "team", days: int = 90) -> str:
    expires_at = datetime.now(UTC) + timedelta(days=days)
    return issue(PRIVATE, customer="ACME", tier=tier, seats=seats, expires_at=expires_at)


@pytest.fixture
def services(services: Services, database: Database) -> Services:
    """Licences are signed with a key of these tests."""
    return replace(services, licensing=Licensing(database, None, PUBLIC))


def activate(admin: Api, key: str) -> Any:
    return admin.post("/api/admin/license/activate", json={"license_key": key})


def attempt(anonymous: Api, username: str, **body: str) -> Any:
    return anonymous.post("/api/auth/login", json={"username": username, "password": PASSWORD} | body)


def test_without_a_licence_the_status_says_evaluation(admin: Api) -> None:
    status = admin.get("/api/admin/license/status").json
    assert (status["status"], status["tier"], status["expires_at"]) == ("evaluation", "enterprise", None)
    assert isinstance(status["seats_total"], int)


def test_an_activated_licence_is_in_force_and_audited(admin: Api, audited: Callable[[str], Any]) -> None:
    answer = activate(admin, a_key(seats=25))
    assert answer.status_code == 200
    assert answer.json == admin.get("/api/admin/license/status").json | {
        "last_validated_at": answer.json["last_validated_at"]
    }
    assert (answer.json["status"], answer.json["tier"], answer.json["seats_total"]) == ("active", "team", 25)
    assert answer.json["warning_level"] == "none"
    assert admin.get("/api/capabilities").json["license_tier"] == "team"
    [row] = audited("license.activated")
    assert (row["actor"], row["details"]["customer"], row["details"]["seats"]) == ("admin", "ACME", 25)


def test_the_status_lists_the_holders_of_seats(admin: Api, add_user: AddUser, log_in: LogIn) -> None:
    add_user("lee")
    log_in("lee")
    log_in("lee")
    status = admin.get("/api/admin/license/status").json
    assert status["seats_used"] == 2
    assert [entry["user_email"] for entry in status["active_sessions"]] == ["admin@example.net", "lee", "lee"]
    times = [status["last_validated_at"], *(entry["started_at"] for entry in status["active_sessions"])]
    times += [entry["last_activity_at"] for entry in status["active_sessions"]]
    for text in times:
        assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("key", ["not-a-valid-license", a_key(days=-20)])
def test_a_bad_key_is_a_400_and_changes_nothing(admin: Api, key: str) -> None:
    answer = activate(admin, key)
    assert answer.status_code == 400
    assert isinstance(answer.json["error"], str)
    assert admin.get("/api/admin/license/status").json["status"] == "evaluation"


def test_only_administrators_see_and_change_the_licence(operator: Api, anonymous: Api) -> None:
    assert operator.get("/api/admin/license/status").status_code == 403
    assert activate(operator, a_key()).status_code == 403
    assert anonymous.get("/api/admin/license/status").status_code == 401


def test_a_licence_of_the_environment_rules(database: Database) -> None:
    licensing = Licensing(database, a_key(seats=7), PUBLIC)
    assert (licensing.current().status, licensing.current().seats) == ("active", 7)
    with pytest.raises(Conflict, match="LICENSE_KEY"), database.transaction() as tx:
        licensing.activate(tx, a_key())


def test_a_wrong_licence_in_the_environment_is_refused_at_once(database: Database) -> None:
    with pytest.raises(InvalidInput):
        Licensing(database, "nonsense", PUBLIC)


def test_a_stored_licence_that_cannot_be_read_any_more_stops_no_user(admin: Api, services: Services) -> None:
    activate(admin, a_key())
    assert Licensing(services.database, None).current().status == "evaluation"


@pytest.fixture
def full(admin: Api, add_user: AddUser, log_in: LogIn) -> None:
    """Two seats, both taken: by the administrator and by lee."""
    activate(admin, a_key(seats=2))
    for name in ("lee", "kim"):
        add_user(name)
    log_in("lee")


@pytest.mark.usefixtures("full")
def test_a_terminal_without_a_seat_left_is_a_409_that_client_and_pact_understand(anonymous: Api) -> None:
    answer = attempt(anonymous, "kim")
    assert answer.status_code == 409
    assert answer.json == {
        "error": "seat_limit_reached: all 2 seats are in use",
        "seats_total": 2,
        "seats_used": 2,
    }


@pytest.mark.usefixtures("full")
def test_repeated_log_ins_of_a_user_take_one_seat(anonymous: Api) -> None:
    assert [attempt(anonymous, "lee").status_code for _ in range(3)] == [200, 200, 200]


@pytest.mark.usefixtures("full")
def test_the_administration_takes_no_seat(anonymous: Api) -> None:
    assert attempt(anonymous, "kim", client_type="admin_ui").status_code == 200
    page = anonymous.post(
        "/api/auth/login", json={"username": "kim", "password": PASSWORD}, headers={"X-NetStacks-Page": "1"}
    )
    assert page.status_code == 200


@pytest.mark.usefixtures("full")
def test_logging_out_frees_the_seat(anonymous: Api, admin: Api) -> None:
    assert attempt(anonymous, "kim").status_code == 409
    admin.post("/api/auth/logout")
    assert attempt(anonymous, "kim").status_code == 200


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    "ending",
    [
        "UPDATE logins SET last_seen_at = now() - interval '2 h'",
        "UPDATE logins SET expires_at = now()",
        "UPDATE logins SET revoked_at = now()",
        "UPDATE users SET is_active = false WHERE username = 'lee'",
    ],
)
def test_a_seat_is_free_again_when_its_user_is_gone(anonymous: Api, database: Database, ending: str) -> None:
    with database.transaction() as tx:
        tx.execute(ending.encode())
    assert attempt(anonymous, "kim").status_code == 200


@pytest.mark.usefixtures("full")
def test_a_refresh_needs_no_free_seat(anonymous: Api, database: Database) -> None:
    token = attempt(anonymous, "lee").json["refresh_token"]
    with database.transaction() as tx:
        tx.execute("UPDATE logins SET last_seen_at = now() - interval '3 h'")
    assert attempt(anonymous, "kim").status_code == 200
    for _ in range(2):
        assert anonymous.post("/api/auth/refresh", json={"refresh_token": token}).status_code == 200
