"""The set-up of an authenticator app: a secret that is stored once a code of the app has confirmed it."""

import time
from uuid import UUID

from flask import request
from typing_extensions import TypedDict

from netstacks.crypto import one_time_codes
from netstacks.errors import InvalidInput
from netstacks.store import second_factors
from netstacks.store.pool import Transaction
from netstacks.web.auth import second_factor, signed_texts
from netstacks.web.auth.parts import auth_parts

_PURPOSE = "set-up of an authenticator app"


class AppSetup(TypedDict):
    """What an authenticator app needs."""

    setup: str
    """To be sent back with the first code."""
    secret: str
    """In Base32."""
    address: str
    """The secret as an `otpauth:` URI."""
    qr_code: str
    """The address as an SVG image."""


def prepare(user_id: UUID, username: str) -> AppSetup:
    """A new secret: as text, as the address for the app, and as a QR code (SVG). `setup` is to be sent back."""
    secret = one_time_codes.new_secret()
    address = one_time_codes.address(secret, username, f"NetStacks {request.host}")
    content = {"user_id": str(user_id), "secret": secret}
    return {
        "setup": signed_texts.issue(auth_parts().tokens, _PURPOSE, content),
        "secret": secret,
        "address": address,
        "qr_code": _qr_code(address),
    }


def set_up(tx: Transaction, user_id: UUID, username: str, setup: str, code: str) -> None:
    """Stores the secret of `setup`. Raises InvalidInput for a wrong code, and for a set-up that has expired."""
    signed = signed_texts.read(auth_parts().tokens, _PURPOSE, setup)
    if signed is None or signed.content["user_id"] != str(user_id):
        raise InvalidInput("The set-up has expired. Start it again.")
    secret, code, now = signed.content["secret"], code.replace(" ", ""), time.time()
    step = one_time_codes.matching_step(secret, code, now)
    if step is None:
        second_factor.explain_clock(username, secret, code, now)
        raise InvalidInput("code: is not correct; the clock of the device with the app must be right")
    second_factors.put_totp(tx, auth_parts().vault, user_id, secret, step)


def _qr_code(address: str) -> str:
    import segno

    # Black on white in both themes: scanners need the contrast, and the quiet zone of 4 modules.
    return str(segno.make(address, error="m").svg_inline(border=4, scale=4, light="#fff", dark="#000", omitsize=True))
