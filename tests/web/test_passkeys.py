"""Passkeys: as a second factor, and alone; and what a stolen or copied one, or another site, may try."""

from collections.abc import Callable
from typing import Any

import pytest

from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.app import create_app
from netstacks.web.auth import signed_texts
from netstacks.web.context import Services
from tests.web.conftest import Api, change_auth
from tests.web.passkey_device import PasskeyDevice
from tests.web.second_factors import ORIGIN, OWN, add_passkey, confirmed, give_passkey, give_password, ticket_of

AddUser = Callable[..., User]
LogIn = Callable[..., Api]
Audited = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def lee(add_user: AddUser, log_in: LogIn) -> Api:
    add_user("lee")
    return log_in("lee")


@pytest.fixture
def device(lee: Api) -> PasskeyDevice:
    return add_passkey(lee)


def options_of(api: Api, ticket: str | None = None) -> dict[str, Any]:
    answer = api.post("/api/auth/login/passkey/options", json={"ticket": ticket}, headers=ORIGIN)
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def send(api: Api, credential: dict[str, Any], ticket: str | None = None, **headers: str) -> Any:
    body = {"ticket": ticket, "credential": credential}
    return api.post("/api/auth/login/passkey", json=body, headers=ORIGIN | headers)


def test_a_passkey_completes_a_log_in(anonymous: Api, device: PasskeyDevice) -> None:
    answer = give_password(anonymous)
    assert answer.json["methods"] == ["passkey", "recovery_code"]
    assert answer.json["error"] == "A second factor is required."
    completed = give_passkey(anonymous, device, answer.json["ticket"])
    assert completed.status_code == 200, completed.text
    assert completed.json["user"]["username"] == "lee"


def test_a_passkey_alone_logs_its_user_in(anonymous: Api, device: PasskeyDevice) -> None:
    options = options_of(anonymous)
    assert (options["rpId"], options["userVerification"], options["allowCredentials"]) == ("localhost", "required", [])
    answer = send(anonymous, device.get(options))
    assert answer.status_code == 200, answer.text
    assert answer.json["user"]["username"] == "lee"


def test_alone_it_must_verify_its_user(anonymous: Api, device: PasskeyDevice) -> None:
    device.verifies = False
    assert give_passkey(anonymous, device).status_code == 401
    # After the password, possession is enough.
    assert give_passkey(anonymous, device, ticket_of(anonymous)).status_code == 200


def test_any_instance_takes_the_answer_and_one_takes_it_once(
    anonymous: Api, device: PasskeyDevice, services: Services
) -> None:
    other = Api(create_app(services).test_client())
    answer = device.get(options_of(anonymous))
    assert send(other, answer).status_code == 200
    assert send(anonymous, answer).status_code == 401


def test_an_answer_is_used_up_also_where_the_authenticator_does_not_count(
    anonymous: Api, device: PasskeyDevice, database: Database
) -> None:
    device.count = -1
    answer = device.get(options_of(anonymous))
    assert [send(anonymous, answer).status_code for _ in range(2)] == [200, 401]


def test_a_challenge_expires(anonymous: Api, device: PasskeyDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_texts, "TTL_SECS", -1.0)
    assert give_passkey(anonymous, device).status_code == 401


def test_a_count_that_does_not_grow_is_refused_and_audited(
    anonymous: Api, device: PasskeyDevice, audited: Audited
) -> None:
    device.count = 7
    assert give_passkey(anonymous, device).status_code == 200
    device.count = 3
    assert give_passkey(anonymous, device).status_code == 401
    [row] = audited("auth.passkey_refused")
    assert row["actor"] == "lee"
    assert row["details"] == {
        "passkey": "Laptop",
        "problem": "its count of signatures is 4 after 8: a copy of it may exist",
    }


def test_a_foreign_page_gets_no_challenge(anonymous: Api, device: PasskeyDevice) -> None:
    foreign = {"Origin": "https://evil.example"}
    answer = anonymous.post("/api/auth/login/passkey/options", json={}, headers=foreign)
    assert answer.status_code == 403


def test_an_answer_made_on_another_site_is_refused(anonymous: Api, device: PasskeyDevice) -> None:
    device.origin = "https://evil.example"
    assert give_passkey(anonymous, device).status_code == 401
    assert give_passkey(anonymous, device, ticket_of(anonymous)).status_code == 401


def test_an_answer_sent_from_another_allowed_site_is_refused(anonymous: Api, device: PasskeyDevice) -> None:
    change_auth(anonymous, allowed_origins=("https://admin.example",))
    answer = device.get(options_of(anonymous))
    assert send(anonymous, answer, Origin="https://admin.example").status_code == 401


def test_a_passkey_is_offered_on_its_own_site_only(anonymous: Api, device: PasskeyDevice) -> None:
    change_auth(anonymous, allowed_origins=("https://admin.example",))
    body = {"username": "lee", "password": "correct horse battery"}
    elsewhere = anonymous.post("/api/auth/login", json=body, headers={"Origin": "https://admin.example"})
    assert elsewhere.json["methods"] == ["recovery_code"]
    # Programs send no origin.
    assert anonymous.post("/api/auth/login", json=body).json["methods"] == ["recovery_code"]


def test_the_passkey_of_another_user_is_refused(
    anonymous: Api, device: PasskeyDevice, add_user: AddUser, log_in: LogIn, audited: Audited
) -> None:
    add_user("kim")
    of_kim = add_passkey(log_in("kim"))
    answer = give_passkey(anonymous, of_kim, ticket_of(anonymous))
    assert answer.status_code == 401
    [row] = audited("auth.passkey_refused")
    assert (row["actor"], row["details"]["problem"]) == ("kim", "it belongs to another user")


def test_a_challenge_for_one_user_or_purpose_is_good_for_no_other(
    anonymous: Api, lee: Api, device: PasskeyDevice
) -> None:
    ticket = ticket_of(anonymous)
    assert send(anonymous, device.get(options_of(anonymous)), ticket).status_code == 401
    assert send(anonymous, device.get(options_of(anonymous, ticket))).status_code == 401
    to_confirm = lee.post(f"{OWN}/confirmation/options", headers=ORIGIN).json
    assert send(anonymous, device.get(to_confirm)).status_code == 401


def test_an_unknown_passkey_is_refused(anonymous: Api, lee: Api, audited: Audited) -> None:
    assert give_passkey(anonymous, PasskeyDevice()).status_code == 401
    assert audited("auth.passkey_refused") == []


def test_another_signature_is_refused(anonymous: Api, device: PasskeyDevice) -> None:
    thief = PasskeyDevice(credential_id=device.credential_id)
    assert give_passkey(anonymous, thief).status_code == 401


def test_the_passkey_of_a_deactivated_user_is_refused(
    anonymous: Api, device: PasskeyDevice, database: Database
) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE users SET is_active = false WHERE username = 'lee'")
    assert give_passkey(anonymous, device).status_code == 401


@pytest.mark.parametrize(
    "spoilt",
    [
        {},
        {"rawId": 7},
        {"response": {}},
        {"response": {"clientDataJSON": "%%%"}},
        {"response": {"clientDataJSON": "e30"}},
        {"response": {"clientDataJSON": "W10"}},
        {"response": {"clientDataJSON": "MTIz"}},
    ],
)
def test_nonsense_is_refused(anonymous: Api, lee: Api, spoilt: dict[str, Any]) -> None:
    assert send(anonymous, spoilt).status_code == 401


@pytest.mark.parametrize("member", ["clientDataJSON", "authenticatorData", "signature"])
@pytest.mark.parametrize("value", [None, 7, "", "AAAA", "%%%%%", "ä"])
def test_a_damaged_answer_is_refused(anonymous: Api, device: PasskeyDevice, member: str, value: Any) -> None:
    credential = device.get(options_of(anonymous))
    credential["response"][member] = value
    assert send(anonymous, credential).status_code == 401


def test_a_page_is_needed(anonymous: Api) -> None:
    answer = anonymous.post("/api/auth/login/passkey/options", json={})
    assert (answer.status_code, answer.json["error"]) == (
        422,
        "A passkey needs a browser, which sends the header Origin.",
    )


def test_a_passkey_confirms_a_change_if_it_verifies_its_user(lee: Api, device: PasskeyDevice) -> None:
    def confirm() -> Any:
        options = lee.post(f"{OWN}/confirmation/options", headers=ORIGIN).json
        return lee.post(f"{OWN}/confirmation", json={"credential": device.get(options)}, headers=ORIGIN)

    answer = confirm()
    assert answer.status_code == 200
    body = {"confirmation": answer.json["confirmation"]}
    assert len(lee.post(f"{OWN}/recovery-codes", json=body).json["recovery_codes"]) == 10
    device.verifies = False
    assert confirm().status_code == 403


def test_a_passkey_is_registered_once(lee: Api, device: PasskeyDevice) -> None:
    proof = confirmed(lee)
    options = lee.post(f"{OWN}/passkeys/options", json=proof, headers=ORIGIN).json
    assert [each["type"] for each in options["excludeCredentials"]] == ["public-key"]
    again = {"name": "Again", "credential": device.create(options)}
    answer = lee.post(f"{OWN}/passkeys", json=proof | again, headers=ORIGIN)
    assert (answer.status_code, answer.json["error"]) == (409, "This passkey is registered already.")


def test_a_registration_is_good_for_one_passkey_of_one_user_at_one_site(
    lee: Api, add_user: AddUser, log_in: LogIn
) -> None:
    proof = confirmed(lee)
    options = lee.post(f"{OWN}/passkeys/options", json=proof, headers=ORIGIN).json

    def add(api: Api, proof: dict[str, str], device: PasskeyDevice) -> int:
        body = proof | {"name": "New", "credential": device.create(options)}
        return int(api.post(f"{OWN}/passkeys", json=body, headers=ORIGIN).status_code)

    add_user("kim")
    kim = log_in("kim")
    assert add(kim, confirmed(kim), PasskeyDevice()) == 403
    assert add(lee, proof, PasskeyDevice(origin="https://evil.example")) == 422
    assert add(lee, proof, PasskeyDevice()) == 201
    assert add(lee, proof, PasskeyDevice()) == 403


def test_names_are_changed_and_told(lee: Api, device: PasskeyDevice, audited: Audited) -> None:
    [passkey] = lee.get(f"{OWN}/second-factors").json["passkeys"]
    assert (passkey["name"], passkey["site"], passkey["last_used_at"]) == ("Laptop", "localhost", None)
    body = confirmed(lee) | {"name": "  Old laptop "}
    assert lee.put(f"{OWN}/passkeys/{passkey['id']}", json=body).json["name"] == "Old laptop"
    [row] = audited("second_factor.renamed")
    assert row["details"] == {"kind": "passkey", "name": "Old laptop"}


def test_the_passkeys_of_others_do_not_exist(lee: Api, device: PasskeyDevice, operator: Api) -> None:
    [passkey] = lee.get(f"{OWN}/second-factors").json["passkeys"]
    proof = confirmed(operator)
    path = f"{OWN}/passkeys/{passkey['id']}"
    assert operator.put(path, json=proof | {"name": "Mine"}).status_code == 404
    assert operator.delete(path, json=proof).status_code == 404
