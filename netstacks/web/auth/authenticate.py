"""Authentication by name and password: throttled, audited, and as slow for unknown names as for known ones."""

import math
import time
from dataclasses import dataclass
from uuid import UUID

from flask import request
from werkzeug.exceptions import TooManyRequests

from netstacks import greenlets
from netstacks.crypto.one_time_codes import DIGITS, is_code
from netstacks.crypto.passwords import is_password
from netstacks.hosts import network
from netstacks.store import audit, failed_login_audit, failed_logins, known_networks, second_factors, users
from netstacks.store.failed_logins import FIRST_WAIT_SECS, Attempt
from netstacks.store.users import User
from netstacks.web.auth import known_devices
from netstacks.web.auth.parts import auth_parts

_MAX_NAME = 128
# Stands for an unknown name in the query for known networks, so that such a name takes as long as a user's.
_NO_USER = UUID(int=0)
# While a throttle applies, every refusal comes this long after its request: the password of an unknown client is not
# checked, that of a user with a known device is, and the time of the answer must not tell which users are known.
_REFUSAL_SECS = 1.0


@dataclass(frozen=True)
class Authenticated:
    """A user whose password was correct, and the hash that it matches. A log-in is refused if the hash has changed.

    `code` is what followed the password: six digits, not yet checked.
    """

    user: User
    password_hash: str
    code: str = ""


def authenticate(name: str, password: str, *, may_end_in_code: bool = False) -> Authenticated | None:
    """The active user with this name or e-mail address if the password is correct; else None, and an audit row.

    `may_end_in_code`: of a user with an authenticator app, the password is also accepted with the app's code appended,
    from clients that know no second step.

    Raises TooManyRequests, without a check or an audit row, after too many wrong passwords: from this address for this
    user, from this address for any user, or for this user from any address. The latter two do not apply to a user who
    has logged in on this device or from this address before. Raises RetryLater when too many checks are waiting.
    """
    began_at = time.monotonic()
    address = network(request.remote_addr)
    marks = known_devices.marks(auth_parts().tokens)
    with auth_parts().password_checks.slot(marks[0].device if marks else address, is_known=bool(marks)):
        with auth_parts().database.transaction() as tx:
            user, password_hash = users.by_login_name(tx, name) or (None, "")
            user_id = user.id if user else _NO_USER
            is_known = known_networks.is_known(tx, user_id, address)
            has_codes = may_end_in_code and "totp" in second_factors.kinds_of(tx, user_id)
        device = next((mark.device for mark in marks if mark.user_id == user_id), None)
        account = str(user.id) if user else name.strip().lower()[:_MAX_NAME]
        attempt = Attempt(account, address, device, is_known or device is not None)
        with auth_parts().password_checks.lock(attempt):
            with auth_parts().database.transaction() as tx:
                throttle = failed_logins.reserve(tx, attempt, auth_parts().lockout())
            if not throttle.wait_secs:
                code = _code_after(password, password_hash, has_codes=has_codes) if may_end_in_code else None
                is_right = code is not None or is_password(password, password_hash or None)
                if is_right and user is not None and user.is_active:
                    with auth_parts().database.transaction() as tx:
                        failed_logins.forgive(tx, attempt)
                        known_networks.note(tx, user.id, address)
                    return Authenticated(user, password_hash, code or "")
                _note(attempt, name, user, is_for_all=throttle.is_for_all)
    if throttle.shared_secs is not None and device is None:
        _wait(began_at + _REFUSAL_SECS - time.monotonic())
        # Not the wait of the pair of user and address, which only users have: the answer must not tell which names
        # exist.
        raise too_many(max(FIRST_WAIT_SECS, throttle.shared_secs), "wrong passwords")
    if throttle.wait_secs:
        raise too_many(throttle.wait_secs, "wrong passwords for this user from here")
    return None


def _code_after(password: str, password_hash: str, *, has_codes: bool) -> str | None:
    """The six digits at the end of `password` if the rest of it is the password, else None.

    For users without such codes it takes as long: the time must not tell which users have them.
    """
    rest, code = password[:-DIGITS], password[-DIGITS:]
    if not rest or not is_code(code):
        return None
    return code if is_password(rest, password_hash if has_codes and password_hash else None) else None


def _wait(secs: float) -> None:
    greenlets.sleep(max(0.0, secs))


def _note(attempt: Attempt, name: str, user: User | None, *, is_for_all: bool) -> None:
    with auth_parts().database.transaction() as tx:
        actor = audit.Actor(name[:_MAX_NAME], None, request.remote_addr)
        resource = f"user:{user.id}" if user else "user:unknown"
        most_per_hour = auth_parts().failed_logins_per_hour
        failed_login_audit.note(tx, actor, resource, attempt.address, most_per_hour)
        if not is_for_all:
            failed_logins.note_pair(tx, attempt)
        elif failed_logins.note(tx, attempt):
            audit.append(tx, actor, "auth.address_throttled", f"address:{attempt.address}")
    auth_parts().password_checks.sweep(auth_parts().database)


def is_own_password(password: str, password_hash: str | None, user_id: str, login_id: str) -> bool:
    """Whether a logged-in user knows the password. Wrong guesses throttle this log-in only.

    Raises TooManyRequests and RetryLater as `authenticate` does.
    """
    attempt = Attempt(user_id, f"login {login_id}", is_known=True)
    checks = auth_parts().password_checks
    # The request is authenticated: it does not compete with unknown clients for a slot.
    with checks.slot(attempt.address, is_known=True), checks.lock(attempt):
        with auth_parts().database.transaction() as tx:
            throttle = failed_logins.reserve(tx, attempt, auth_parts().lockout())
        if throttle.wait_secs:
            raise too_many(throttle.wait_secs, "wrong passwords")
        is_right = is_password(password, password_hash)
        with auth_parts().database.transaction() as tx:
            (failed_logins.forgive if is_right else failed_logins.note_pair)(tx, attempt)
    return is_right


def too_many(wait_secs: int, what: str) -> TooManyRequests:
    """The error after too many of `what`, with the time until the next try."""
    how_long = f"{wait_secs} seconds" if wait_secs < 90 else f"{math.ceil(wait_secs / 60)} minutes"
    return TooManyRequests(f"Too many {what}. Try again in {how_long}.", retry_after=wait_secs)
