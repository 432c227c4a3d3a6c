"""Passkeys (WebAuthn): options for the browser, and the check of what its authenticator has signed.

A challenge is a signed text that names its purpose, user and site. It is used once: its use is stored with the change
that it allows.
"""

import base64
import binascii
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import request
from pydantic import WithJsonSchema
from werkzeug.exceptions import Unauthorized

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.store import audit, second_factors, users
from netstacks.store.pool import Transaction
from netstacks.store.second_factors import Passkey
from netstacks.store.users import User
from netstacks.web.auth import origins, second_factor, signed_texts
from netstacks.web.auth.parts import auth_parts
from netstacks.web.auth.signed_texts import SignedText

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication

log = structlog.get_logger()

_NAME = "NetStacks Controller"
_REFUSED = "The passkey was not accepted. Try again, or log in another way."
_TIMEOUT_MS = 300_000


PasskeyOptions = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {"type": "object", "additionalProperties": True, "description": "Options as WebAuthn defines them."}
    ),
]


@dataclass(frozen=True)
class Site:
    """The page that makes the request. Browsers bind a passkey to `rp_id`, its host name."""

    origin: str
    rp_id: str


@dataclass(frozen=True)
class Asked:
    """What a challenge is for; `user_id` is None when the passkey tells the user.

    `replaces_password`: the authenticator must verify its user, by a PIN or a fingerprint.
    """

    purpose: str
    user_id: UUID | None = None
    replaces_password: bool = False

    def content(self, site: Site) -> dict[str, str]:
        return {"user_id": str(self.user_id or ""), "rp_id": site.rp_id}


def site() -> Site | None:
    """The site of this request; None without an Origin header, or with a foreign one."""
    origin = request.headers.get("Origin")
    if origin is None or origins.problem():
        return None
    return Site(origin, urlsplit(origin).hostname or "")


def required_site() -> Site:
    """The site of this request. Raises InvalidInput without an Origin header, Forbidden for a foreign one.

    Each request about passkeys calls it, before its transaction.
    """
    origins.check()
    found = site()
    if found is None:
        raise InvalidInput("A passkey needs a browser, which sends the header Origin.")
    greenlets.import_in_thread("webauthn")
    return found


def creation_options(site: Site, asked: Asked, user: User, existing: Collection[Passkey]) -> PasskeyOptions:
    """Options for `navigator.credentials.create`; authenticators that hold one of `existing` refuse."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    options = generate_registration_options(
        rp_id=site.rp_id,
        rp_name=_NAME,
        user_id=user.id.bytes,
        user_name=user.username,
        user_display_name=user.display_name or user.username,
        challenge=_challenge(site, asked),
        timeout=_TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
        ),
        exclude_credentials=[
            PublicKeyCredentialDescriptor(id=each.credential_id) for each in existing if each.rp_id == site.rp_id
        ],
    )
    return dict(json.loads(options_to_json(options)))


def request_options(site: Site, asked: Asked, allowed: Sequence[Passkey] = ()) -> PasskeyOptions:
    """Options for `navigator.credentials.get`. Without `allowed`, any passkey of the site is offered."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor, UserVerificationRequirement

    verification = (
        UserVerificationRequirement.REQUIRED if asked.replaces_password else UserVerificationRequirement.PREFERRED
    )
    options = generate_authentication_options(
        rp_id=site.rp_id,
        challenge=_challenge(site, asked),
        timeout=_TIMEOUT_MS,
        allow_credentials=[
            PublicKeyCredentialDescriptor(id=each.credential_id) for each in allowed if each.rp_id == site.rp_id
        ],
        user_verification=verification,
    )
    return dict(json.loads(options_to_json(options)))


def register(tx: Transaction, site: Site, asked: Asked, name: str, credential: Mapping[str, Any]) -> Passkey:
    """Stores a new passkey of the user for whom the challenge was. Raises InvalidInput, and Conflict if it is known."""
    from webauthn import verify_registration_response

    assert asked.user_id is not None
    challenge, signed = _answered(site, asked, credential)
    try:
        verified = verify_registration_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
        )
    # A malformed answer makes the parsers below raise errors of many kinds.
    except Exception as error:
        log.info("passkey.not_registered", error=str(error))
        raise InvalidInput("The passkey could not be added. Try again, or use another one.") from error
    second_factor.spend(tx, challenge.decode(), signed)
    return second_factors.add_passkey(
        tx,
        asked.user_id,
        name=name,
        rp_id=site.rp_id,
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        transports=_transports(credential),
        is_backed_up=verified.credential_backed_up,
    )


def check(site: Site, asked: Asked, credential: Mapping[str, Any]) -> Passkey:
    """The passkey that has signed a challenge, which is used up. Raises Unauthorized, with an audit row if it is known.

    A count of signatures that does not grow is refused: it shows that a copy of the passkey exists.
    """
    challenge, signed = _answered(site, asked, credential)
    problem = "it is not registered"
    with auth_parts().database.transaction() as tx:
        passkey = second_factors.passkey_by_credential(tx, _credential_id(credential))
        if passkey is not None:
            problem = _use(tx, passkey, site, asked, credential, challenge, signed)
            if not problem:
                return passkey
            user = users.get(tx, passkey.user_id)
            actor = audit.Actor(user.username, user.id, request.remote_addr)
            audit.append(tx, actor, "auth.passkey_refused", f"user:{user.id}", passkey=passkey.name, problem=problem)
    log.info("passkey.refused", problem=problem)
    raise Unauthorized(_REFUSED)


def _use(
    tx: Transaction,
    passkey: Passkey,
    site: Site,
    asked: Asked,
    credential: Mapping[str, Any],
    challenge: bytes,
    signed: SignedText,
) -> str:
    """Notes the use of the passkey; returns the problem instead when it is not accepted."""
    if passkey.user_id != (asked.user_id or passkey.user_id):
        return "it belongs to another user"
    try:
        verified = _verified(passkey, site, asked, credential, challenge)
    # As in `register`.
    except Exception as error:
        return str(error)
    second_factor.spend(tx, challenge.decode(), signed)
    count = verified.new_sign_count
    # Authenticators without a counter always send 0.
    if (count or passkey.sign_count) and count <= passkey.sign_count:
        return f"its count of signatures is {count} after {passkey.sign_count}: a copy of it may exist"
    is_backed_up = verified.credential_backed_up
    second_factors.note_passkey_use(tx, passkey, sign_count=count, is_backed_up=is_backed_up)
    return ""


def _verified(
    passkey: Passkey, site: Site, asked: Asked, credential: Mapping[str, Any], challenge: bytes
) -> "VerifiedAuthentication":
    from webauthn import verify_authentication_response

    return verify_authentication_response(
        credential=dict(credential),
        expected_challenge=challenge,
        expected_rp_id=site.rp_id,
        expected_origin=site.origin,
        credential_public_key=passkey.public_key,
        # `_use` compares it, and its problem is in the audit log.
        credential_current_sign_count=0,
        require_user_verification=asked.replaces_password,
    )


def _challenge(site: Site, asked: Asked) -> bytes:
    return signed_texts.issue(auth_parts().tokens, asked.purpose, asked.content(site)).encode()


def _answered(site: Site, asked: Asked, credential: Mapping[str, Any]) -> tuple[bytes, SignedText]:
    """The challenge that was signed. Raises Unauthorized unless it is one of ours for this purpose."""
    try:
        challenge = _decoded(json.loads(_decoded(credential["response"]["clientDataJSON"]))["challenge"])
        signed = signed_texts.read(auth_parts().tokens, asked.purpose, challenge.decode())
    except (KeyError, TypeError, ValueError, RecursionError):
        raise Unauthorized(_REFUSED) from None
    if signed is None or not asked.content(site).items() <= signed.content.items():
        raise Unauthorized(_REFUSED)
    return challenge, signed


def _credential_id(credential: Mapping[str, Any]) -> bytes:
    try:
        return _decoded(credential["rawId"])
    except (KeyError, TypeError, ValueError):
        return b""


def _decoded(text: Any) -> bytes:
    """Raises TypeError and ValueError (binascii.Error is one) for a value that is not base64url."""
    if not isinstance(text, str):
        raise TypeError("no text")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("no base64url") from error


def _transports(credential: Mapping[str, Any]) -> list[str]:
    """How the browser reaches the authenticator, such as `usb`; informative only."""
    response = credential.get("response")
    given = response.get("transports") if isinstance(response, dict) else None
    return [each for each in given if isinstance(each, str)][:8] if isinstance(given, list) else []
