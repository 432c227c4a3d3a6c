"""Logging in with a second factor: each rule, and what an attacker who knows the password tries."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pyotp
import pytest
import structlog

from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.app import create_app
from netstacks.web.auth import second_factor, signed_texts
from netstacks.web.context import Services
from tests.web.conftest import PASSWORD, Api
from tests.web.second_factors import (
    OWN,
    add_app,
    confirmed,
    forget_used,
    give_code,
    give_password,
    ticket_of,
)
from tests.web.test_guessing import at, later

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def lee(add_user: AddUser, log_in: LogIn) -> Api:
    add_user("lee")
    return log_in("lee")


@pytest.fixture
def app_of_lee(lee: Api, database: Database) -> pyotp.TOTP:
    app, _ = add_app(lee)
    forget_used(database)
    return app


def stranger(api: Api, address: str = "127.0.0.1") -> Api:
    """A client without cookies."""
    return at(api, address)


def wrong_of(app: pyotp.TOTP) -> str:
    """A code that is right at no time near now."""
    near = {app.at(time.time(), counter_offset=step) for step in range(-40, 40)}
    return next(code for code in ("000000", "111111", "222222") if code not in near)


def test_without_a_second_factor_a_log_in_has_one_step(anonymous: Api, lee: Api) -> None:
    answer = give_password(anonymous)
    assert answer.status_code == 200
    assert answer.json["user"]["second_factors"] == []


def test_the_password_alone_is_answered_with_a_ticket(anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
    answer = give_password(anonymous)
    assert answer.status_code == 401
    assert answer.json["methods"] == ["totp", "recovery_code"]
    assert "Set-Cookie" not in answer.headers
    assert "access_token" not in answer.json
    completed = give_code(anonymous, answer.json["ticket"], app_of_lee.now())
    assert completed.status_code == 200, completed.text
    assert completed.json["user"]["second_factors"] == ["totp"]


def test_a_wrong_password_tells_nothing_of_a_second_factor(anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
    answer = give_password(anonymous, password="wrong" + app_of_lee.now())
    assert answer.json == {"error": "The user name or the password is not correct."}


def test_a_page_gets_its_cookie_after_the_second_step(anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
    page = Api(anonymous.client, {"X-NetStacks-Page": "1"})
    ticket = ticket_of(page)
    assert page.get("/account").location == "/login?next=/account"
    answer = give_code(page, ticket, app_of_lee.now())
    assert answer.json["csrf_token"]
    assert page.get("/account").status_code == 200


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_codes_of_the_neighbouring_steps_are_accepted(
    anonymous: Api, app_of_lee: pyotp.TOTP, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The next step must not begin meanwhile.
    now = time.time()
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: now))
    code = app_of_lee.at(now, counter_offset=steps)
    assert give_code(anonymous, ticket_of(anonymous), code).status_code == 200


@pytest.mark.parametrize(("steps", "secs"), [(-20, -600), (10, 300)])
def test_a_code_of_another_time_is_refused_and_the_log_names_the_clock(
    anonymous: Api, app_of_lee: pyotp.TOTP, steps: int, secs: int
) -> None:
    ticket = ticket_of(anonymous)
    with structlog.testing.capture_logs() as logged:
        assert give_code(anonymous, ticket, app_of_lee.at(time.time(), counter_offset=steps)).status_code == 401
    [line] = [each for each in logged if each["event"] == "auth.totp_clock"]
    assert line["user"] == "lee"
    assert abs(line["app_ahead_secs"] - secs) <= 30


def test_a_code_is_accepted_once(anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
    first, second = ticket_of(anonymous), ticket_of(anonymous)
    code = app_of_lee.now()
    assert give_code(anonymous, first, code).status_code == 200
    assert give_code(anonymous, second, code).status_code == 401
    # Nor is an older one, which a client may have overheard.
    assert give_code(anonymous, second, app_of_lee.at(time.time(), counter_offset=-1)).status_code == 401


def test_the_code_that_set_the_app_up_is_used(anonymous: Api, lee: Api) -> None:
    app, _ = add_app(lee)
    assert give_code(anonymous, ticket_of(anonymous), app.now()).status_code == 401


def test_two_instances_accept_one_code_once(services: Services, anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
    clients = [stranger(anonymous), Api(create_app(services).test_client())]
    tickets = [ticket_of(client) for client in clients]
    code, answers = app_of_lee.now(), []
    gate = threading.Barrier(len(clients))

    def give(client: Api, ticket: str) -> None:
        gate.wait(10)
        answers.append(give_code(client, ticket, code).status_code)

    threads = [threading.Thread(target=give, args=pair) for pair in zip(clients, tickets, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200, 401]


def test_a_ticket_is_good_for_one_log_in(anonymous: Api, app_of_lee: pyotp.TOTP, database: Database) -> None:
    ticket = ticket_of(anonymous)
    assert give_code(anonymous, ticket, app_of_lee.now()).status_code == 200
    forget_used(database)
    again = give_code(anonymous, ticket, app_of_lee.now())
    assert (again.status_code, again.json["error"].split(".")[0]) == (
        401,
        "This log-in has taken too long, or your password was changed",
    )


def test_a_used_ticket_uses_no_code_up(anonymous: Api, lee: Api, database: Database) -> None:
    app, codes = add_app(lee)
    forget_used(database)
    ticket = ticket_of(anonymous)
    assert give_code(anonymous, ticket, app.now()).status_code == 200
    forget_used(database)
    for code in (app.now(), codes[0]):
        assert give_code(anonymous, ticket, code).status_code == 401
        assert give_code(anonymous, ticket_of(anonymous), code).status_code == 200


def test_a_ticket_is_good_at_its_address_only(anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
    ticket = ticket_of(anonymous)
    assert give_code(stranger(anonymous, "192.0.2.1"), ticket, app_of_lee.now()).status_code == 401


def test_a_ticket_expires(anonymous: Api, app_of_lee: pyotp.TOTP, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_texts, "TTL_SECS", -1.0)
    ticket = ticket_of(anonymous)
    assert give_code(anonymous, ticket, app_of_lee.now()).status_code == 401


def test_a_ticket_is_void_after_a_change_of_the_password(anonymous: Api, app_of_lee: pyotp.TOTP, admin: Api) -> None:
    ticket = ticket_of(anonymous)
    [lee] = [user for user in admin.get("/api/users").json["items"] if user["username"] == "lee"]
    assert admin.put(f"/api/users/{lee['id']}/password", json={"password": "another password"}).status_code == 204
    assert give_code(anonymous, ticket, app_of_lee.now()).status_code == 401


def test_a_ticket_is_void_for_a_deactivated_user(anonymous: Api, app_of_lee: pyotp.TOTP, database: Database) -> None:
    ticket = ticket_of(anonymous)
    with database.transaction() as tx:
        tx.execute("UPDATE users SET is_active = false WHERE username = 'lee'")
    assert give_code(anonymous, ticket, app_of_lee.now()).status_code == 401


def test_the_code_of_another_user_is_wrong(
    anonymous: Api, app_of_lee: pyotp.TOTP, add_user: AddUser, log_in: LogIn, database: Database
) -> None:
    add_user("kim")
    app_of_kim, codes_of_kim = add_app(log_in("kim"))
    forget_used(database)
    ticket = ticket_of(anonymous)
    assert give_code(anonymous, ticket, app_of_kim.now()).status_code == 401
    assert give_code(anonymous, ticket, codes_of_kim[0]).status_code == 401
    assert give_code(anonymous, ticket, app_of_lee.now()).status_code == 200


@pytest.mark.parametrize("change", [lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), lambda text: "x"])
def test_a_forged_ticket_is_refused(anonymous: Api, app_of_lee: pyotp.TOTP, change: Callable[[str], str]) -> None:
    assert give_code(anonymous, change(ticket_of(anonymous)), app_of_lee.now()).status_code == 401


def test_a_confirmation_is_no_ticket(anonymous: Api, lee: Api, app_of_lee: pyotp.TOTP) -> None:
    confirmation = confirmed(lee)["confirmation"]
    assert give_code(anonymous, confirmation, app_of_lee.now()).status_code == 401


def test_guessing_codes_is_made_to_wait_from_any_address(
    anonymous: Api, app_of_lee: pyotp.TOTP, database: Database, audited: Audited
) -> None:
    wrong = wrong_of(app_of_lee)
    statuses = []
    for number in range(12):
        # Each at another address, with the password given anew: neither resets the count.
        client = stranger(anonymous, f"192.0.2.{number}")
        statuses.append(give_code(client, ticket_of(client), wrong).status_code)
    assert statuses == [401] * 10 + [429] * 2
    blocked = give_code(anonymous, ticket_of(anonymous), app_of_lee.now())
    wait = blocked.headers["Retry-After"]
    assert (blocked.status_code, 0 < int(wait) <= 10) == (429, True)
    assert blocked.json["error"].startswith("Too many wrong codes. Try again in ")
    assert len(audited("auth.second_factor_failed")) == 10
    later(database, 10)
    forget_used(database)
    assert give_code(anonymous, ticket_of(anonymous), app_of_lee.now()).status_code == 200


def test_guesses_do_not_keep_a_known_browser_out(anonymous: Api, app_of_lee: pyotp.TOTP, database: Database) -> None:
    # This client has the mark of a completed log-in.
    assert give_code(anonymous, ticket_of(anonymous), app_of_lee.now()).status_code == 200
    guesser = stranger(anonymous, "192.0.2.9")
    for _ in range(11):
        give_code(guesser, ticket_of(guesser), wrong_of(app_of_lee))
    forget_used(database)
    assert give_code(guesser, ticket_of(guesser), app_of_lee.now()).status_code == 429
    assert give_code(anonymous, ticket_of(anonymous), app_of_lee.now()).status_code == 200


def test_a_recovery_code_is_accepted_once(anonymous: Api, lee: Api, audited: Audited) -> None:
    _, codes = add_app(lee)
    assert len(set(codes)) == 10
    typed = codes[3].upper().replace("-", " ")
    assert give_code(anonymous, ticket_of(anonymous), typed).status_code == 200
    assert give_code(anonymous, ticket_of(anonymous), codes[3]).status_code == 401
    [row] = audited("auth.recovery_code_used")
    assert row["details"] == {"left": 9}
    assert lee.get(f"{OWN}/second-factors").json["recovery_codes_left"] == 9


def test_secrets_and_codes_are_not_stored_as_text(lee: Api, database: Database) -> None:
    app, codes = add_app(lee)
    with database.transaction() as tx:
        tables = ("totp_factors", "recovery_codes", "vault_secrets", "audit")
        stored = [tx.execute(f"SELECT * FROM {table}".encode()).fetchall() for table in tables]
    assert app.secret not in str(stored)
    assert not any(code in str(stored) for code in codes)


class TestClientsWithoutASecondStep:
    def test_the_code_may_follow_the_password(self, anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
        answer = give_password(anonymous, password=PASSWORD + app_of_lee.now(), client_type="terminal")
        assert answer.status_code == 200, answer.text

    def test_the_refusal_says_so(self, anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
        answer = give_password(anonymous, client_type="terminal")
        assert answer.json["error"] == (
            "A second factor is required. Add the 6 digits of your authenticator app to the end of your password."
        )

    def test_the_code_may_be_a_member(self, anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
        assert give_password(anonymous, code=app_of_lee.now()).status_code == 200

    def test_a_wrong_code_after_the_password_counts(self, anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
        wrong = wrong_of(app_of_lee)
        statuses = [give_password(anonymous, password=PASSWORD + wrong).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        assert give_password(anonymous, password=PASSWORD + app_of_lee.now()).status_code == 429

    def test_six_digits_after_the_password_of_a_user_without_an_app_are_wrong(self, anonymous: Api, lee: Api) -> None:
        answer = give_password(anonymous, password=PASSWORD + "123456")
        assert answer.json == {"error": "The user name or the password is not correct."}

    def test_a_page_takes_the_password_alone(self, anonymous: Api, app_of_lee: pyotp.TOTP) -> None:
        page = Api(anonymous.client, {"X-NetStacks-Page": "1"})
        assert give_password(page, password=PASSWORD + app_of_lee.now()).json == {
            "error": "The user name or the password is not correct."
        }

    def test_a_password_that_ends_in_digits_is_a_password(self, anonymous: Api, lee: Api, database: Database) -> None:
        body = {"current_password": PASSWORD, "new_password": "correct horse 123456"}
        assert lee.put("/api/auth/password", json=body).status_code == 204
        assert give_password(anonymous, password="correct horse 123456").status_code == 200
