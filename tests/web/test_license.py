"""Seats, and the licence as administrators see it (docs/protocol.md, 3.1 and 13)."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netstacks.crypto.license import Grant, License, issue
from netstacks.errors import Conflict, InvalidInput
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.auth.licensing import Licensing, notice_of
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


def test_an_activated_licence_is_an_event_of_the_cluster(admin: Api, services: Services) -> None:
    events: list[tuple[str, str, dict[str, str]]] = []
    services.agent.record_event = lambda kind, at, **details: events.append((kind, at, details))  # type: ignore[method-assign]
    expires_at = activate(admin, a_key(seats=25)).json["expires_at"]
    change = f"Teams, 25 seats, until {expires_at[:10]}"
    assert events == [("licence", "here", {"change": change, "by": "admin"})]
    activate(admin, "no licence")
    assert len(events) == 1


def test_the_status_lists_the_holders_of_seats(admin: Api, add_user: AddUser, log_in: LogIn) -> None:
    add_user("lee")
    log_in("lee")
    log_in("lee")
    status = admin.get("/api/admin/license/status").json
    assert status["seats_used"] == 2
    assert [entry["user_email"] for entry in status["active_sessions"]] == ["admin@example.net", "lee"]
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


def grant(status: Any, days: float, tier: Any = "enterprise") -> Grant:
    now = datetime.now(UTC)
    found = License("ACME", tier, 5, now, now + timedelta(days=days, hours=1))
    return Grant(status, tier, 5, {"active": "warning"}.get(status, "critical"), found)


@pytest.mark.parametrize(
    ("given", "text", "may_all_see"),
    [
        (("active", 20), r"The licence expires on \d{4}-\d\d-\d\d, in 20 days\.", False),
        (("active", 1), r"in 1 day\.", False),
        (("active", 0), r", today\.", False),
        (("grace", -4), r"stays in force until .*, in 10 days: instances that start then form no cluster", True),
        (("grace", -4, "team"), r"in 10 days: then this controller is Starter\.", True),
        (("expired", -20), r"expired on .*, and so has its grace period\.", True),
    ],
)
def test_what_users_should_know_of_the_licence(given: tuple[Any, ...], text: str, may_all_see: bool) -> None:
    notice = notice_of(grant(*given), datetime.now(UTC))
    assert notice is not None
    assert re.search(text, notice.text)
    assert notice.may_all_see is may_all_see


def test_a_licence_that_is_well_and_an_evaluation_are_no_news() -> None:
    now = datetime.now(UTC)
    well = License("ACME", "team", 5, now, now + timedelta(days=90))
    for given in (Grant("active", "team", 5, "none", well), Grant("evaluation", "enterprise", 10, "warning")):
        assert notice_of(given, now) is None


def notices(api: Api, page: Api) -> tuple[Any, bool]:
    """What the API tells the user, and whether a page has it, too."""
    return api.get("/api/v1/me").json["notice"], 'id="notice"' in page.get("/sessions").text


def test_a_licence_that_expires_soon_is_on_each_page_of_administrators(admin: Api, operator: Api, page: Api) -> None:
    assert notices(admin, page) == (None, False)
    activate(admin, a_key(days=20))
    told, is_shown = notices(admin, page)
    assert (told["level"], told["url"], is_shown) == ("warning", "/admin/license", True)
    assert "Activate a new one." in page.get("/admin/license").text
    assert operator.get("/api/v1/me").json["notice"] is None
    activate(admin, a_key(days=90))
    assert notices(admin, page) == (None, False)


def test_in_its_grace_period_all_users_are_told(admin: Api, operator: Api, services: Services) -> None:
    activate(admin, a_key(days=-3))
    told = operator.get("/api/v1/me").json["notice"]
    assert (told["level"], told["url"]) == ("critical", None)
    assert told["text"].endswith("An administrator must activate a new one.")


def test_a_licence_that_another_instance_activates_is_known_here(admin: Api, services: Services) -> None:
    elsewhere = Licensing(services.database, None, PUBLIC)
    assert elsewhere.current().status == "evaluation"
    activate(admin, a_key(days=20))
    elsewhere.current()
    assert elsewhere.notice(may_manage=True) is not None


def test_the_page_of_the_licence(admin: Api, page: Api) -> None:
    activate(admin, a_key(seats=25))
    facts = admin.get("/api/v1/license").json
    assert (facts["tier_name"], facts["customer"], facts["source"]) == ("Teams", "ACME", "activated")
    assert [each["is_included"] for each in facts["features"]] == [True, False]
    text = page.get("/admin/license").text
    assert "of 25" in text
    assert "Activate a licence" in text


class TestOfTheEnvironment:
    @pytest.fixture
    def services(self, services: Services, database: Database) -> Services:
        return replace(services, licensing=Licensing(database, a_key(), PUBLIC))

    def test_the_page_names_the_variable(self, admin: Api, page: Api) -> None:
        assert admin.get("/api/v1/license").json["source"] == "environment"
        text = page.get("/admin/license").text
        assert "LICENSE_KEY" in text
        assert "Activate a licence" not in text
