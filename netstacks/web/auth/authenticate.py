"""Name and password to user: guesses are made to wait, unknown names take as long, failures are audited."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from flask import request
from werkzeug.exceptions import TooManyRequests

from netstacks import greenlets
from netstacks.crypto.passwords import is_password
from netstacks.errors import ComeAgain, StoreUnavailable
from netstacks.store import audit, failed_login_audit, failed_logins, known_networks, users
from netstacks.store.failed_logins import FIRST_WAIT_SECS, Attempt, network
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.web.auth import known_devices
from netstacks.web.auth.parts import auth_parts

log = structlog.get_logger()

_LONGEST_NAME = 128
# Asked about in a user's place, so that a name that no user has takes as long.
_NO_USER = UUID(int=0)
# Passwords are looked at two at a time: so many requests wait for that, and so many of one address. Users who are
# logged in, and browsers in which a user has logged in before, have places that strangers cannot take.
MOST_WAITING = 300
MOST_WAITING_OF_ADDRESS = 30
MOST_WAITING_MARKED = 100
# Where too much was guessed, refusals come this long after the request: a stranger's password is not looked at, that of
# a user who has logged in there before is, and such a user must not be known by the slower answer.
_REFUSAL_SECS = 1.0
_SWEEP_SECS = 60.0

_waiting: Counter[str] = Counter()
_waiting_marked: Counter[str] = Counter()
_turns: WeakValueDictionary[Attempt | str, greenlets.BoundedSemaphore] = WeakValueDictionary()


@dataclass(frozen=True)
class Authenticated:
    """A user whose password was right, and the hash that it fits: another one by the time of the log-in voids it."""

    user: User
    password_hash: str


def authenticate(name: str, password: str) -> Authenticated | None:
    """The active user of this name or e-mail address if the password is right; else None, which is audited.

    Raises TooManyRequests when too many passwords were wrong at this address, for this user or for any, or for this
    user anywhere: then this one is neither looked at nor audited. The two latter do not hold up a user who has logged
    in at this device or from this address before. Raises ComeAgain when too many passwords are being looked at already.
    """
    began_at = time.monotonic()
    address = network(request.remote_addr)
    marks = known_devices.marks(auth_parts().tokens)
    with _place(marks[0].device if marks else address, is_known=bool(marks)):
        with auth_parts().database.transaction() as tx:
            user, password_hash = users.by_login_name(tx, name) or (None, "")
            user_id = user.id if user else _NO_USER
            is_known = known_networks.is_known(tx, user_id, address)
        device = next((mark.device for mark in marks if mark.user_id == user_id), None)
        account = str(user.id) if user else name.strip().lower()[:_LONGEST_NAME]
        attempt = Attempt(account, address, device, is_known or device is not None)
        with _turn(attempt):
            with auth_parts().database.transaction() as tx:
                throttle = failed_logins.reserve(tx, attempt)
            if not throttle.wait_secs:
                if is_password(password, password_hash or None) and user is not None and user.is_active:
                    with auth_parts().database.transaction() as tx:
                        failed_logins.forgive(tx, attempt)
                        known_networks.note(tx, user.id, address)
                    return Authenticated(user, password_hash)
                _note(attempt, name, user, is_for_all=throttle.is_for_all)
    if throttle.shared_secs is not None and device is None:
        _wait(began_at + _REFUSAL_SECS - time.monotonic())
        # Not the wait of the pair, which only users have: a name that no user has must not be known by the answer.
        raise _too_many(max(FIRST_WAIT_SECS, throttle.shared_secs), "wrong passwords")
    if throttle.wait_secs:
        raise _too_many(throttle.wait_secs, "wrong passwords for this user from here")
    return None


def _wait(secs: float) -> None:
    greenlets.sleep(max(0.0, secs))


def _note(attempt: Attempt, name: str, user: User | None, *, is_for_all: bool) -> None:
    with auth_parts().database.transaction() as tx:
        actor = audit.Actor(name[:_LONGEST_NAME], None, request.remote_addr)
        resource = f"user:{user.id}" if user else "user:unknown"
        most_per_hour = auth_parts().failed_logins_per_hour
        failed_login_audit.note(tx, actor, resource, attempt.address, most_per_hour)
        if not is_for_all:
            failed_logins.note_pair(tx, attempt)
        elif failed_logins.note(tx, attempt):
            audit.append(tx, actor, "auth.address_throttled", f"address:{attempt.address}")
    _sweep(auth_parts().database)


def is_own_password(password: str, password_hash: str | None, user_id: str, login_id: str) -> bool:
    """Whether a logged-in user knows the password. What is guessed by one log-in makes only that one wait.

    Raises as `authenticate` does.
    """
    attempt = Attempt(user_id, f"login {login_id}", is_known=True)
    # The log-in is proven: it does not wait among strangers.
    with _place(attempt.address, is_known=True), _turn(attempt):
        with auth_parts().database.transaction() as tx:
            throttle = failed_logins.reserve(tx, attempt)
        if throttle.wait_secs:
            raise _too_many(throttle.wait_secs, "wrong passwords")
        is_right = is_password(password, password_hash)
        with auth_parts().database.transaction() as tx:
            (failed_logins.forgive if is_right else failed_logins.note_pair)(tx, attempt)
    return is_right


@contextlib.contextmanager
def _place(source: str, *, is_known: bool) -> Iterator[None]:
    """`source` is the address, or the browser, that counts by itself."""
    if is_known:
        waiting, most = _waiting_marked, MOST_WAITING_MARKED
    else:
        waiting, most = _waiting, MOST_WAITING
    # No yield between the questions and the count: more would wait.
    if waiting.total() >= most or waiting[source] >= MOST_WAITING_OF_ADDRESS:
        raise ComeAgain("too many log-ins at once: try again in a moment")
    waiting[source] += 1
    try:
        yield
    finally:
        waiting[source] -= 1
        if not waiting[source]:
            del waiting[source]


def _turn(attempt: Attempt) -> greenlets.BoundedSemaphore:
    """Passwords are looked at one after the other, so that each attempt sees the failures before it.

    Those of strangers for one user wait for each other, from wherever they come; a user who is known waits only for the
    attempts from the same place.
    """
    return _turns.setdefault(attempt if attempt.is_known else attempt.account, greenlets.BoundedSemaphore())


def _too_many(wait_secs: int, what: str) -> TooManyRequests:
    how_long = f"{wait_secs} seconds" if wait_secs < 90 else f"{math.ceil(wait_secs / 60)} minutes"
    return TooManyRequests(f"Too many {what}. Try again in {how_long}.", retry_after=wait_secs)


_swept_at = -math.inf


def _sweep(database: Database) -> None:
    """A wrong password calls it now and then: without wrong passwords there is nothing to sweep."""
    global _swept_at
    if time.monotonic() - _swept_at < _SWEEP_SECS:
        return
    _swept_at = time.monotonic()
    try:
        with database.transaction() as tx:
            failed_logins.sweep(tx)
    except StoreUnavailable as error:
        log.warning("auth.not_swept", error=str(error))
