"""Codes for a log-in: the 6 digits of an authenticator app (TOTP, RFC 6238), and recovery codes."""

import hashlib
import hmac
import re
import secrets

STEP_SECS = 30
DIGITS = 6
RECOVERY_CODES = 10

_CODE = re.compile(r"[0-9]{6}")
# Clocks may differ, and a code takes seconds to type: the step before and the one after are accepted (RFC 6238, 5.2).
_TOLERATED_STEPS = 1
# A code of a step this far away is refused, but tells that a clock is wrong: 15 minutes.
_EXPLAINED_STEPS = 30
# Base 32 without letters that look like digits. 16 of them are 80 bits: too many to guess, even from a hash.
_ALPHABET = "abcdefghjkmnpqrstvwxyz0123456789"
_GROUPS, _GROUP_LENGTH = 4, 4


def new_secret() -> str:
    """A new secret of 160 bits, in base 32."""
    import pyotp

    return pyotp.random_base32()


def address(secret: str, username: str, issuer: str) -> str:
    """The `otpauth:` address that an authenticator app reads from a QR code."""
    import pyotp

    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def is_code(text: str) -> bool:
    """Whether the text has the form of an authenticator app's code."""
    return _CODE.fullmatch(text) is not None


def matching_step(secret: str, code: str, now: float) -> int | None:
    """The time step whose code this is, at `now` in seconds since 1970; None for a wrong code."""
    return _step_within(_TOLERATED_STEPS, secret, code, now)


def clock_difference_secs(secret: str, code: str, now: float) -> int | None:
    """By how many seconds, roughly, the clock is ahead that made this refused code; None for no code near `now`."""
    step = _step_within(_EXPLAINED_STEPS, secret, code, now)
    return None if step is None else (step - int(now) // STEP_SECS) * STEP_SECS


def _step_within(steps: int, secret: str, code: str, now: float) -> int | None:
    import pyotp

    totp = pyotp.TOTP(secret)
    here = int(now) // STEP_SECS
    # The nearest step first: two steps may have the same code.
    for step in sorted(range(here - steps, here + steps + 1), key=lambda each: abs(each - here)):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            return step
    return None


def new_recovery_codes() -> list[str]:
    """RECOVERY_CODES new codes, as they are shown to their user once."""
    return [_new_recovery_code() for _ in range(RECOVERY_CODES)]


def _new_recovery_code() -> str:
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)


def recovery_hash(code: str) -> bytes:
    """The stored hash of a recovery code, however it is typed: capitals, spaces and dashes do not matter."""
    return hashlib.sha256(re.sub(r"[\s-]", "", code).lower().encode(errors="replace")).digest()
