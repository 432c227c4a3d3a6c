"""The second factors of a user in the API."""

from typing_extensions import TypedDict

from netstacks.formats import Timestamp, Uuid
from netstacks.store.second_factors import Held, Passkey
from netstacks.web.auth import enforcement, guard
from netstacks.web.http.outputs import timestamp


class PasskeyJson(TypedDict):
    id: Uuid
    name: str
    site: str
    """The host name that it works for."""
    transports: list[str]
    """How browsers reach its authenticator, such as `usb` or `internal`."""
    is_backed_up: bool
    """Whether the authenticator keeps a copy of it elsewhere."""
    created_at: Timestamp
    last_used_at: Timestamp | None


class AppJson(TypedDict):
    """An authenticator app."""

    created_at: Timestamp
    last_used_at: Timestamp | None


class SecondFactors(TypedDict):
    is_required: bool
    """Whether the user must have one."""
    totp: AppJson | None
    passkeys: list[PasskeyJson]
    recovery_codes_left: int


class Confirmation(TypedDict):
    confirmation: str
    """To be sent with changes of second factors in the next minutes."""


class RecoveryCodes(TypedDict):
    recovery_codes: list[str]
    """Shown this once; empty when the former ones stay valid."""


class AddedPasskey(TypedDict):
    passkey: PasskeyJson
    recovery_codes: list[str]
    """Shown this once; empty when the former ones stay valid."""


def as_json(held: Held) -> SecondFactors:
    return {
        "is_required": enforcement.is_required(guard.identity()),
        "totp": {"created_at": timestamp(held.totp.created_at), "last_used_at": timestamp(held.totp.last_used_at)}
        if held.totp
        else None,
        "passkeys": [passkey_json(passkey) for passkey in held.passkeys],
        "recovery_codes_left": held.recovery_codes,
    }


def passkey_json(passkey: Passkey) -> PasskeyJson:
    return {
        "id": str(passkey.id),
        "name": passkey.name,
        "site": passkey.rp_id,
        "transports": passkey.transports,
        "is_backed_up": passkey.is_backed_up,
        "created_at": timestamp(passkey.created_at),
        "last_used_at": timestamp(passkey.last_used_at),
    }
