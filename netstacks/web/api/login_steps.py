"""The second step of a log-in, and the log-in by a passkey alone (docs/protocol.md, 3.6)."""

from functools import partial
from typing import Any

from flask import Blueprint
from pydantic import BaseModel, Field
from werkzeug.exceptions import Unauthorized

from netstacks.store import second_factors
from netstacks.web.api import login
from netstacks.web.api.login import Begun, Client
from netstacks.web.auth import metrics, passkeys, second_factor
from netstacks.web.auth.authenticate import Authenticated
from netstacks.web.auth.passkeys import Asked, PasskeyOptions
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body

blueprint = Blueprint("login_steps", __name__)

_PURPOSE = "passkey for a log-in"
_ALONE = Asked(_PURPOSE, replaces_password=True)
# A ticket has about 400 characters, an answer of an authenticator a few thousand.
_TICKET = Field(max_length=4096)


class CodeInput(Client):
    ticket: str = _TICKET
    code: str = Field(min_length=1, max_length=64)


class OptionsInput(BaseModel):
    """With a ticket, a passkey of its user is asked for; without one, any that verifies its user."""

    ticket: str | None = Field(None, max_length=4096)


class PasskeyInput(Client):
    ticket: str | None = Field(None, max_length=4096)
    credential: dict[str, Any]


@blueprint.post("/api/auth/login/code")
@takes_body(CodeInput)
@answers(401, 403, 429)
def give_code(body: CodeInput) -> Begun:
    """Completes a log-in by the code of an authenticator app or by a recovery code."""
    with metrics.counting_refusals():
        proof, signed = second_factor.read_ticket(body.ticket)
        spend = partial(second_factor.spend, ticket=body.ticket, signed=signed)
        second_factor.check_code(proof.user, body.code, also=spend)
    return login.begin(proof, body.client_type)


@blueprint.post("/api/auth/login/passkey/options")
@takes_body(OptionsInput)
@answers(401, 403)
def passkey_options(body: OptionsInput) -> PasskeyOptions:
    """The options for `navigator.credentials.get`, with a challenge that is good for one log-in."""
    ticket = body.ticket
    site = passkeys.required_site()
    if ticket is None:
        return passkeys.request_options(site, _ALONE)
    proof, _ = second_factor.read_ticket(ticket)
    with services().database.transaction() as tx:
        allowed = second_factors.passkeys_of(tx, proof.user.id)
    return passkeys.request_options(site, Asked(_PURPOSE, proof.user.id), allowed)


@blueprint.post("/api/auth/login/passkey")
@takes_body(PasskeyInput)
@answers(401, 403)
def give_passkey(body: PasskeyInput) -> Begun:
    """Completes a log-in by a passkey, or logs in by a passkey alone, without a user name and a password."""
    with metrics.counting_refusals():
        proof = _proof(body)
    return login.begin(proof, body.client_type)


def _proof(body: PasskeyInput) -> Authenticated:
    site = passkeys.required_site()
    if body.ticket is None:
        passkey = passkeys.check(site, _ALONE, body.credential)
        proof = second_factor.proof_of(passkey.user_id)
        if proof is None:
            raise Unauthorized("This passkey is of a user who may not log in.")
        return proof
    proof, signed = second_factor.read_ticket(body.ticket)
    passkeys.check(site, Asked(_PURPOSE, proof.user.id), body.credential)
    with services().database.transaction() as tx:
        second_factor.spend(tx, body.ticket, signed)
    return proof
