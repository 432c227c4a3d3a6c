"""Second factors on the account page's API: each change is confirmed and audited; required factors; their reset."""

from collections.abc import Callable
from typing import Any

import pyotp
import pytest

from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.store import audit, second_factors, settings
from netstacks.store.pool import Database
from netstacks.store.setting_definitions import SECOND_FACTOR
from netstacks.store.users import User
from netstacks.store.vault import Vault
from netstacks.web.auth import signed_texts
from netstacks.web.auth.factor_states import FactorStates
from netstacks.web.context import Services
from tests.web.conftest import MASTER_KEY, PASSWORD, Api
from tests.web.second_factors import (
    ORIGIN,
    OWN,
    add_app,
    add_passkey,
    confirmed,
    forget_used,
    give_code,
    give_password,
    ticket_of,
)
from tests.web.test_guessing import later

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]
Require = Callable[[object], None]


@pytest.fixture
def lee(add_user: AddUser, log_in: LogIn) -> Api:
    add_user("lee")
    return log_in("lee")


@pytest.fixture
def require(services: Services, database: Database) -> Callable[[object], None]:
    """`require("all")`: the setting, which counts at once."""

    def require(whom: object) -> None:
        with database.transaction() as tx:
            settings.put(tx, SECOND_FACTOR.key, whom)
        services.system_settings.refresh()

    return require


def own(api: Api) -> dict[str, Any]:
    return dict(api.get(f"{OWN}/second-factors").json)


class TestChanges:
    def test_an_app_is_set_up_by_a_code_and_with_recovery_codes(self, lee: Api, audited: Audited) -> None:
        _, codes = add_app(lee)
        assert len(codes) == 10
        assert own(lee)["recovery_codes_left"] == 10
        assert own(lee)["totp"]["last_used_at"] is None
        assert lee.get("/api/auth/me").json["second_factors"] == ["totp"]
        [row] = audited("second_factor.*")
        assert (row["event"], row["actor"], row["details"]) == ("second_factor.added", "lee", {"kind": "totp"})

    def test_what_an_app_reads(self, lee: Api) -> None:
        prepared = lee.post(f"{OWN}/totp", json=confirmed(lee)).json
        assert prepared["address"].startswith("otpauth://totp/")
        read = pyotp.parse_uri(prepared["address"])
        assert (read.secret, read.name, read.issuer) == (prepared["secret"], "lee", "NetStacks localhost")
        assert prepared["qr_code"].startswith("<svg")
        assert "<script" not in prepared["qr_code"]

    def test_a_wrong_code_sets_nothing_up(self, lee: Api) -> None:
        proof = confirmed(lee)
        prepared = lee.post(f"{OWN}/totp", json=proof).json
        answer = lee.put(f"{OWN}/totp", json=proof | {"setup": prepared["setup"], "code": "12345"})
        assert answer.status_code == 422
        assert answer.json["error"].startswith("code: is not correct")
        assert own(lee)["totp"] is None

    def test_the_set_up_of_another_user_is_refused(self, lee: Api, operator: Api) -> None:
        prepared = operator.post(f"{OWN}/totp", json=confirmed(operator)).json
        code = pyotp.TOTP(prepared["secret"]).now()
        answer = lee.put(f"{OWN}/totp", json=confirmed(lee) | {"setup": prepared["setup"], "code": code})
        assert (answer.status_code, answer.json["error"]) == (422, "The set-up has expired. Start it again.")

    def test_a_further_factor_keeps_the_recovery_codes(self, lee: Api) -> None:
        add_app(lee)
        proof = confirmed(lee)
        options = lee.post(f"{OWN}/passkeys/options", json=proof, headers=ORIGIN).json
        assert options["user"]["name"] == "lee"
        add_passkey(lee)
        assert own(lee)["recovery_codes_left"] == 10
        assert lee.get("/api/auth/me").json["second_factors"] == ["totp", "passkey"]

    def test_new_recovery_codes_replace_the_former(self, anonymous: Api, lee: Api, audited: Audited) -> None:
        _, old = add_app(lee)
        new = lee.post(f"{OWN}/recovery-codes", json=confirmed(lee)).json["recovery_codes"]
        assert not set(new) & set(old)
        assert give_code(anonymous, ticket_of(anonymous), old[0]).status_code == 401
        assert give_code(anonymous, ticket_of(anonymous), new[0]).status_code == 200
        assert len(audited("second_factor.recovery_codes_renewed")) == 1

    def test_recovery_codes_need_a_factor(self, lee: Api) -> None:
        assert lee.post(f"{OWN}/recovery-codes", json=confirmed(lee)).status_code == 409

    def test_the_last_factor_takes_the_recovery_codes_with_it(
        self, anonymous: Api, lee: Api, database: Database
    ) -> None:
        add_app(lee)
        assert lee.delete(f"{OWN}/totp", json=confirmed(lee)).status_code == 204
        assert own(lee) == {"is_required": False, "totp": None, "passkeys": [], "recovery_codes_left": 0}
        assert give_password(anonymous).status_code == 200
        with database.transaction() as tx:
            assert tx.execute("SELECT 1 FROM vault_secrets").fetchone() is None
        assert lee.delete(f"{OWN}/totp", json=confirmed(lee)).status_code == 404

    def test_the_number_of_passkeys_is_limited(self, lee: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(second_factors, "MAX_PASSKEYS", 1)
        add_passkey(lee)
        with pytest.raises(AssertionError, match="user has at most 1 passkeys"):
            add_passkey(lee)


CHANGES = [
    ("POST", "/totp"),
    ("PUT", "/totp"),
    ("DELETE", "/totp"),
    ("POST", "/passkeys/options"),
    ("POST", "/passkeys"),
    ("PUT", "/passkeys/00000000-0000-0000-0000-000000000001"),
    ("DELETE", "/passkeys/00000000-0000-0000-0000-000000000001"),
    ("POST", "/recovery-codes"),
]
BODY = {"setup": "x", "code": "123456", "name": "x", "credential": {}}


class TestConfirmation:
    @pytest.mark.parametrize(("method", "path"), CHANGES)
    def test_each_change_needs_one(self, lee: Api, operator: Api, method: str, path: str) -> None:
        of_another = confirmed(operator)
        for proof in ({"confirmation": "x"}, of_another):
            answer = lee.send(method, OWN + path, json=BODY | proof, headers=ORIGIN)
            assert (answer.status_code, answer.json["error"]) == (
                403,
                "Confirm with your password or a passkey that it is you, then try again.",
            )

    def test_it_expires(self, lee: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(signed_texts, "TTL_SECS", -1.0)
        assert lee.post(f"{OWN}/totp", json=confirmed(lee)).status_code == 403

    def test_wrong_passwords_are_throttled(self, lee: Api, database: Database) -> None:
        answers = [lee.post(f"{OWN}/confirmation", json={"password": "wrong"}) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [403] * 10 + [429]
        assert answers[0].json["error"] == "password: is not correct"
        assert lee.post(f"{OWN}/confirmation", json={"password": PASSWORD}).status_code == 429
        later(database, 10)
        confirmed(lee)

    def test_nothing_confirms_nothing(self, lee: Api) -> None:
        answer = lee.post(f"{OWN}/confirmation", json={})
        assert (answer.status_code, answer.json["error"]) == (422, "password: is missing")

    def test_another_log_in_of_the_same_user_needs_its_own(self, lee: Api, log_in: LogIn) -> None:
        assert log_in("lee").post(f"{OWN}/totp", json=confirmed(lee)).status_code == 403


class TestRequirement:
    def test_a_user_without_a_factor_may_only_set_one_up(self, lee: Api, require: Require) -> None:
        assert lee.get("/api/devices/browse").status_code == 200
        require("all")
        for path in ("/api/devices/browse", "/api/capabilities", "/ws/ssh", "/api/sessions"):
            assert lee.get(path).status_code == 403, path
        refused = lee.put("/api/auth/password", json={})
        assert refused.json["error"] == (
            "Two-step log-in is required for your account. Open the page /account/second-factor of this controller in a"
            " browser, set it up, then try again."
        )
        assert lee.get("/api/auth/me").status_code == 200
        add_app(lee)
        assert lee.get("/api/devices/browse").status_code == 200

    def test_a_page_leads_to_the_set_up(self, page: Api, require: Require) -> None:
        require("administrators")
        for path in ("/", "/account", "/admin/about"):
            assert page.get(path).location == "/account/second-factor"
        shown = page.get("/account/second-factor")
        assert shown.status_code == 200
        assert "Set up two-step log-in" in shown.text
        add_app(page)
        assert page.get("/").status_code == 200
        assert page.get("/account/second-factor").location == "/account"

    def test_a_fresh_log_in_is_as_limited(self, lee: Api, log_in: LogIn, require: Require) -> None:
        require("all")
        assert log_in("lee").get("/api/devices/browse").status_code == 403

    def test_only_administrators_where_only_they_need_one(self, lee: Api, admin: Api, require: Require) -> None:
        require("administrators")
        assert lee.get("/api/devices/browse").status_code == 200
        assert admin.get("/api/devices/browse").status_code == 403
        assert (own(lee)["is_required"], own(admin)["is_required"]) == (False, True)

    @pytest.mark.parametrize("value", [None, 7, [], {"a": 1}, "sometimes"])
    def test_an_unreadable_setting_requires_none(self, lee: Api, require: Require, value: object) -> None:
        require(value)
        assert lee.get("/api/devices/browse").status_code == 200

    def test_the_last_factor_stays(self, lee: Api, require: Require) -> None:
        add_app(lee)
        add_passkey(lee)
        require("all")
        [passkey] = own(lee)["passkeys"]
        assert lee.delete(f"{OWN}/totp", json=confirmed(lee)).status_code == 204
        answer = lee.delete(f"{OWN}/passkeys/{passkey['id']}", json=confirmed(lee))
        assert answer.status_code == 409
        assert own(lee)["passkeys"] == [passkey]
        assert own(lee)["recovery_codes_left"] == 10

    def test_users_of_an_identity_provider_need_none(self, lee: Api, require: Require, database: Database) -> None:
        require("all")
        with database.transaction() as tx:
            tx.execute("UPDATE users SET auth_provider = 'oidc' WHERE username = 'lee'")
        assert lee.get("/api/devices/browse").status_code == 200

    def test_without_postgresql_nobody_is_held_up_and_one_request_asks(
        self, lee: Api, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        states, asked = FactorStates(), []

        def away(*_: object) -> None:
            asked.append(1)
            raise StoreUnavailable("away")

        monkeypatch.setattr(second_factors, "must_set_up", away)
        for _ in range(3):
            assert not states.must_set_up(database, lee.user_id)
        assert len(asked) == 1

    def test_a_busy_database_lets_no_user_through(
        self, lee: Api, require: Require, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        require("all")

        def busy(*_: object) -> None:
            raise StoreBusy("busy")

        monkeypatch.setattr(second_factors, "must_set_up", busy)
        assert lee.get("/api/devices/browse").status_code == 503


class TestPages:
    def test_the_account_page_shows_the_factors(self, page: Api) -> None:
        assert "Your password alone logs you in." in page.get("/account").text
        add_passkey(page, "<b>Laptop</b>")
        shown = page.get("/account").text
        assert "&lt;b&gt;Laptop&lt;/b&gt;" in shown
        assert "10 unused recovery codes" in shown

    def test_a_user_of_single_sign_on_is_told_where_they_are(self, page: Api, database: Database) -> None:
        with database.transaction() as tx:
            tx.execute("UPDATE users SET auth_provider = 'oidc'")
        shown = page.get("/account").text
        assert "those of your identity provider" in shown
        assert "Two-step log-in" not in shown


class TestReset:
    def test_an_administrator_removes_them_and_ends_the_log_ins(
        self, anonymous: Api, lee: Api, admin: Api, audited: Audited
    ) -> None:
        app, codes = add_app(lee)
        add_passkey(lee)
        ticket = ticket_of(anonymous)
        assert admin.get(f"/api/users/{lee.user_id}").json["second_factors"] == ["totp", "passkey"]
        assert admin.delete(f"/api/v1/users/{lee.user_id}/second-factors").status_code == 204
        assert lee.get("/api/auth/me").status_code == 401
        assert admin.get(f"/api/users/{lee.user_id}").json["second_factors"] == []
        assert give_code(anonymous, ticket, codes[0]).status_code == 401
        assert give_code(anonymous, ticket, app.now()).status_code == 401
        assert give_password(anonymous).status_code == 200
        [row] = audited("user.second_factors_reset")
        assert (row["actor"], row["details"]) == ("admin", {"username": "lee", "kinds": ["totp", "passkey"]})

    def test_an_administrators_own_stay(self, admin: Api) -> None:
        add_app(admin)
        answer = admin.delete(f"/api/v1/users/{admin.user_id}/second-factors")
        assert (answer.status_code, answer.json["error"]) == (
            409,
            "Your own second factors are changed on your account page.",
        )

    def test_no_such_user(self, admin: Api) -> None:
        path = "/api/v1/users/00000000-0000-0000-0000-000000000001/second-factors"
        assert admin.delete(path).status_code == 404

    def test_they_go_with_their_user(self, lee: Api, admin: Api, database: Database) -> None:
        add_app(lee)
        add_passkey(lee)
        assert admin.delete(f"/api/users/{lee.user_id}").status_code == 204
        with database.transaction() as tx:
            for table in ("totp_factors", "passkeys", "recovery_codes", "vault_secrets"):
                assert tx.execute(f"SELECT 1 FROM {table}".encode()).fetchone() is None, table


def test_a_new_master_key_seals_the_secrets_anew(anonymous: Api, lee: Api, database: Database) -> None:
    app, _ = add_app(lee)
    forget_used(database)
    ticket = ticket_of(anonymous)
    resealed = Vault(database, "6f" * 32, MASTER_KEY).rotate(audit.SYSTEM)
    assert resealed == 1
    # The instance of this test has the old key alone.
    refused = give_code(anonymous, ticket, app.now())
    assert refused.status_code == 503
    with database.transaction() as tx:
        assert second_factors.totp_secret(tx, Vault(database, "6f" * 32), lee.user_id) == app.secret


def test_a_password_change_keeps_the_factors(anonymous: Api, lee: Api) -> None:
    add_app(lee)
    body = {"current_password": PASSWORD, "new_password": "another good password"}
    assert lee.put("/api/auth/password", json=body).status_code == 204
    assert give_password(anonymous, password="another good password").json["code"] == "SECOND_FACTOR_REQUIRED"
