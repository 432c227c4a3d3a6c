"""What tests do with second factors, through the API as pages do."""

from typing import Any

import pyotp

from netstacks.store.pool import Database
from tests.web.conftest import PASSWORD, Api
from tests.web.passkey_device import PasskeyDevice

OWN = "/api/v1/account"
ORIGIN = {"Origin": "http://localhost"}


def confirmed(api: Api) -> dict[str, str]:
    """The member that a change needs, for the right password."""
    answer = api.post(f"{OWN}/confirmation", json={"password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"confirmation": answer.json["confirmation"]}


def add_app(api: Api) -> tuple[pyotp.TOTP, list[str]]:
    """Sets an authenticator app up; returns it, and the recovery codes."""
    proof = confirmed(api)
    prepared = api.post(f"{OWN}/totp", json=proof).json
    app = pyotp.TOTP(prepared["secret"])
    body = proof | {"setup": prepared["setup"], "code": app.now()}
    answer = api.put(f"{OWN}/totp", json=body)
    assert answer.status_code == 200, answer.text
    return app, answer.json["recovery_codes"]


def forget_used(database: Database) -> None:
    """Lets time pass for authenticator apps: the current code was not used yet."""
    with database.transaction() as tx:
        tx.execute("UPDATE totp_factors SET last_step = 0")


def add_passkey(api: Api, name: str = "Laptop", **device: Any) -> PasskeyDevice:
    """Adds a passkey and returns the device that holds it."""
    proof = confirmed(api)
    options = api.post(f"{OWN}/passkeys/options", json=proof, headers=ORIGIN).json
    made = PasskeyDevice(**device)
    body = proof | {"name": name, "credential": made.create(options)}
    answer = api.post(f"{OWN}/passkeys", json=body, headers=ORIGIN)
    assert answer.status_code == 201, answer.text
    return made


def give_password(api: Api, username: str = "lee", **body: Any) -> Any:
    return api.post("/api/auth/login", json={"username": username, "password": PASSWORD} | body, headers=ORIGIN)


def ticket_of(api: Api, username: str = "lee") -> str:
    answer = give_password(api, username)
    assert (answer.status_code, answer.json["code"]) == (401, "SECOND_FACTOR_REQUIRED"), answer.text
    return str(answer.json["ticket"])


def give_code(api: Api, ticket: str, code: str) -> Any:
    return api.post("/api/auth/login/code", json={"ticket": ticket, "code": code})


def give_passkey(api: Api, device: PasskeyDevice, ticket: str | None = None, **headers: str) -> Any:
    """Logs in by a passkey, alone or after the password."""
    given = ORIGIN | headers
    options = api.post("/api/auth/login/passkey/options", json={"ticket": ticket}, headers=given)
    assert options.status_code == 200, options.text
    body = {"ticket": ticket, "credential": device.get(options.json)}
    return api.post("/api/auth/login/passkey", json=body, headers=given)
