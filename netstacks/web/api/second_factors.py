"""The second factors of the user, who proves the password or a passkey again for each change.

A user who must set one up may use this blueprint, so nothing else is in it: their reset is one of web/api/users.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field, StringConstraints, model_validator
from werkzeug.exceptions import Unauthorized

from netstacks.crypto import one_time_codes
from netstacks.crypto.password_rules import MAX_LENGTH
from netstacks.errors import Conflict, Forbidden
from netstacks.store import audit, second_factors, users
from netstacks.store.pool import Transaction
from netstacks.store.second_factors import Held
from netstacks.web.api.second_factor_json import (
    AddedPasskey,
    Confirmation,
    PasskeyJson,
    RecoveryCodes,
    SecondFactors,
    as_json,
    passkey_json,
)
from netstacks.web.auth import authenticator_app, enforcement, guard, passkeys, signed_texts
from netstacks.web.auth.authenticate import is_own_password
from netstacks.web.auth.authenticator_app import AppSetup
from netstacks.web.auth.passkeys import Asked, PasskeyOptions
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body

blueprint = Blueprint("second_factors", __name__)

_CONFIRMED = "confirmation of a change of second factors"
_TO_CONFIRM = "passkey to confirm a change"
_TO_REGISTER = "passkey to add"
_UNCONFIRMED = "Confirm with your password or a passkey that it is you, then try again."

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class ConfirmationInput(BaseModel):
    """One of the two: the current password, or what a passkey has signed."""

    password: str | None = Field(None, max_length=MAX_LENGTH)
    credential: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> "ConfirmationInput":
        if self.password is None and self.credential is None:
            raise ValueError("password: is missing")
        return self


class Confirmed(BaseModel):
    confirmation: str = Field(max_length=4096)


class AppInput(Confirmed):
    setup: str = Field(max_length=4096)
    code: str = Field(max_length=16)


class PasskeyInput(Confirmed):
    name: Name
    credential: dict[str, Any]


class NameInput(Confirmed):
    name: Name


@blueprint.get("/api/v1/account/second-factors")
@guard.requires()
def get_own() -> SecondFactors:
    with services().database.transaction() as tx:
        return as_json(second_factors.of_user(tx, guard.identity().user_id))


@blueprint.post("/api/v1/account/confirmation/options")
@guard.requires()
def confirmation_options() -> PasskeyOptions:
    """Options for a passkey that confirms a change."""
    me = guard.identity().user_id
    with services().database.transaction() as tx:
        allowed = second_factors.passkeys_of(tx, me)
    return passkeys.request_options(passkeys.required_site(), _to_confirm(), allowed)


@blueprint.post("/api/v1/account/confirmation")
@guard.requires()
@takes_body(ConfirmationInput)
@answers(429)
def confirm(body: ConfirmationInput) -> Confirmation:
    """A confirmation for changes in the next minutes by this log-in, for the current password or a passkey."""
    me = guard.identity()
    if body.credential is not None:
        with _refused_as_forbidden():
            passkeys.check(passkeys.required_site(), _to_confirm(), body.credential)
    else:
        with services().database.transaction() as tx:
            password_hash = users.password_hash_of(tx, me.user_id)
        if not is_own_password(body.password or "", password_hash, str(me.user_id), str(me.login_id)):
            raise Forbidden("password: is not correct")
    content = {"login_id": str(me.login_id)}
    return {"confirmation": signed_texts.issue(services().tokens, _CONFIRMED, content)}


@blueprint.post("/api/v1/account/totp")
@guard.requires()
@takes_body(Confirmed)
def prepare_app(body: Confirmed) -> AppSetup:
    """A new secret for an authenticator app, as text, as address and as a QR code. Nothing is stored yet."""
    _check_confirmed(body)
    me = guard.identity()
    return authenticator_app.prepare(me.user_id, me.username)


@blueprint.put("/api/v1/account/totp")
@guard.requires()
@takes_body(AppInput)
def set_app_up(body: AppInput) -> RecoveryCodes:
    """Sets the authenticator app up that shows this code, in place of a former one."""
    me = guard.identity()
    with _change(body) as tx:
        held = second_factors.of_user(tx, me.user_id)
        authenticator_app.set_up(tx, me.user_id, me.username, body.setup, body.code)
        _audit(tx, "second_factor.added", kind="totp")
        codes = _first_codes(tx, held)
    return {"recovery_codes": codes}


@blueprint.delete("/api/v1/account/totp")
@guard.requires()
@takes_body(Confirmed)
@answers(204)
def remove_app(body: Confirmed) -> Response:
    with _change(body) as tx:
        second_factors.remove_totp(tx, guard.identity().user_id)
        _audit(tx, "second_factor.removed", kind="totp")
        _check_last(tx)
    return Response(status=204)


@blueprint.post("/api/v1/account/passkeys/options")
@guard.requires()
@takes_body(Confirmed)
def passkey_options(body: Confirmed) -> PasskeyOptions:
    """Options for `navigator.credentials.create`."""
    _check_confirmed(body)
    me = guard.identity().user_id
    with services().database.transaction() as tx:
        user, existing = users.get(tx, me), second_factors.passkeys_of(tx, me)
    return passkeys.creation_options(passkeys.required_site(), Asked(_TO_REGISTER, me), user, existing)


@blueprint.post("/api/v1/account/passkeys")
@guard.requires()
@takes_body(PasskeyInput)
@answers(201)
def add_passkey(body: PasskeyInput) -> tuple[AddedPasskey, int]:
    me = guard.identity().user_id
    site = passkeys.required_site()
    with _change(body) as tx:
        held = second_factors.of_user(tx, me)
        with _refused_as_forbidden():
            passkey = passkeys.register(tx, site, Asked(_TO_REGISTER, me), body.name, body.credential)
        _audit(tx, "second_factor.added", kind="passkey", name=passkey.name)
        codes = _first_codes(tx, held)
    return {"passkey": passkey_json(passkey), "recovery_codes": codes}, 201


@blueprint.put("/api/v1/account/passkeys/<uuid:passkey_id>")
@guard.requires()
@takes_body(NameInput)
def rename_passkey(body: NameInput, passkey_id: UUID) -> PasskeyJson:
    with _change(body) as tx:
        passkey = second_factors.rename_passkey(tx, guard.identity().user_id, passkey_id, body.name)
        _audit(tx, "second_factor.renamed", kind="passkey", name=passkey.name)
    return passkey_json(passkey)


@blueprint.delete("/api/v1/account/passkeys/<uuid:passkey_id>")
@guard.requires()
@takes_body(Confirmed)
@answers(204)
def remove_passkey(body: Confirmed, passkey_id: UUID) -> Response:
    with _change(body) as tx:
        passkey = second_factors.remove_passkey(tx, guard.identity().user_id, passkey_id)
        _audit(tx, "second_factor.removed", kind="passkey", name=passkey.name)
        _check_last(tx)
    return Response(status=204)


@blueprint.post("/api/v1/account/recovery-codes")
@guard.requires()
@takes_body(Confirmed)
def renew_recovery_codes(body: Confirmed) -> RecoveryCodes:
    """New recovery codes, shown by this answer only; the former ones are no longer accepted."""
    with _change(body) as tx:
        if second_factors.of_user(tx, guard.identity().user_id).is_empty:
            raise Conflict("recovery codes stand for a second factor: set one up first")
        codes = _new_codes(tx)
        _audit(tx, "second_factor.recovery_codes_renewed")
    return {"recovery_codes": codes}


@contextmanager
def _refused_as_forbidden() -> Iterator[None]:
    """Raises Forbidden for a refused passkey: 401 would end the log-in of the client (docs/protocol.md, rule 4)."""
    try:
        yield
    except Unauthorized as error:
        raise Forbidden(error.description or "") from None


def _to_confirm() -> Asked:
    return Asked(_TO_CONFIRM, guard.identity().user_id, replaces_password=True)


@contextmanager
def _change(body: Confirmed) -> Iterator[Transaction]:
    """A transaction that changes the user's factors, after a confirmation. Raises Forbidden without one."""
    _check_confirmed(body)
    with services().database.transaction() as tx:
        guard.confirm(tx)
        second_factors.lock(tx, guard.identity().user_id)
        yield tx


def _check_confirmed(body: Confirmed) -> None:
    signed = signed_texts.read(services().tokens, _CONFIRMED, body.confirmation)
    if signed is None or signed.content["login_id"] != str(guard.identity().login_id):
        raise Forbidden(_UNCONFIRMED)


def _check_last(tx: Transaction) -> None:
    """Raises Conflict when the user has removed the last factor and needs one; else recovery codes go with it."""
    me = guard.identity()
    if not second_factors.of_user(tx, me.user_id).is_empty:
        return
    if enforcement.is_required(me):
        raise Conflict("this is your last second factor, and your account must have one: add another one first")
    second_factors.remove_all(tx, me.user_id)


def _first_codes(tx: Transaction, before: Held) -> list[str]:
    """Recovery codes with the first factor; none with a further one, which leaves the codes as they are."""
    return _new_codes(tx) if before.is_empty else []


def _new_codes(tx: Transaction) -> list[str]:
    codes = one_time_codes.new_recovery_codes()
    hashes = [one_time_codes.recovery_hash(code) for code in codes]
    second_factors.replace_recovery_codes(tx, guard.identity().user_id, hashes)
    return codes


def _audit(tx: Transaction, event: str, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"user:{guard.identity().user_id}", **details)
