"""Name and password to user: guesses are made to wait, unknown names take as long, failures are audited."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from weakref import WeakValueDictionary

import structlog
from flask import request
from werkzeug.exceptions import TooManyRequests

from netstacks import greenlets
from netstacks.errors import ComeAgain, StoreUnavailable
from netstacks.store import audit, failed_logins, users
from netstacks.store.failed_logins import FIRST_WAIT_SECS, Attempt, network
from netstacks.store.passwords import is_password
from netstacks.store.users import User
from netstacks.web.context import Services, services

log = structlog.get_logger()

_LONGEST_NAME = 128
# Passwords are looked at two at a time: so many requests wait for that, and so many of one address.
MOST_WAITING = 300
MOST_WAITING_OF_ADDRESS = 30
# An address that has guessed too much gets its refusals this long after the request: a name that no user has is not
# looked at there, and must not be known by the faster answer.
_REFUSAL_SECS = 0.25
_SWEEP_SECS = 60.0

_waiting: Counter[str] = Counter()
_turns: WeakValueDictionary[Attempt, greenlets.BoundedSemaphore] = WeakValueDictionary()


def authenticate(name: str, password: str) -> User | None:
    """The active user of this name or e-mail address if the password is right; else None, which is audited.

    Raises TooManyRequests when too many passwords for this user were wrong at this address: then this one is neither
    looked at nor audited. An address with too many wrong passwords for any names gets it for each wrong one, and there
    names that no user has are neither looked at nor audited. Raises ComeAgain when too many passwords are being looked
    at already.
    """
    began_at = time.monotonic()
    address = network(request.remote_addr)
    with _place(address):
        with services().database.transaction() as tx:
            found = users.by_login_name(tx, name)
        user, password_hash = found or (None, None)
        attempt = Attempt(str(user.id) if user else name.strip().lower()[:_LONGEST_NAME], address)
        with _turn(attempt):
            with services().database.transaction() as tx:
                throttle = failed_logins.reserve(tx, attempt)
            if not throttle.wait_secs and (user is not None or not throttle.is_of_address):
                if is_password(password, password_hash) and user is not None and user.is_active:
                    with services().database.transaction() as tx:
                        failed_logins.forgive(tx, attempt)
                    return user
                _note(attempt, name, user)
    if throttle.is_of_address:
        greenlets.sleep(max(0.0, began_at + _REFUSAL_SECS - time.monotonic()))
        raise _too_many(max(FIRST_WAIT_SECS, throttle.wait_secs), "wrong passwords from here")
    if throttle.wait_secs:
        raise _too_many(throttle.wait_secs, "wrong passwords for this user from here")
    return None


def _note(attempt: Attempt, name: str, user: User | None) -> None:
    with services().database.transaction() as tx:
        actor = audit.Actor(name[:_LONGEST_NAME], None, request.remote_addr)
        audit.append(tx, actor, "auth.login_failed", f"user:{user.id}" if user else "user:unknown")
        if failed_logins.note(tx, attempt):
            audit.append(tx, actor, "auth.address_throttled", f"address:{attempt.address}")
    _sweep(services())


def is_own_password(password: str, password_hash: str | None, user_id: str, login_id: str) -> bool:
    """Whether a logged-in user knows the password. What is guessed by one log-in makes only that one wait.

    Raises as `authenticate` does.
    """
    attempt = Attempt(user_id, f"login {login_id}")
    with _place(attempt.address), _turn(attempt):
        with services().database.transaction() as tx:
            throttle = failed_logins.reserve(tx, attempt)
        if throttle.wait_secs:
            raise _too_many(throttle.wait_secs, "wrong passwords")
        is_right = is_password(password, password_hash)
        with services().database.transaction() as tx:
            (failed_logins.forgive if is_right else failed_logins.note_pair)(tx, attempt)
    return is_right


@contextlib.contextmanager
def _place(address: str) -> Iterator[None]:
    # No yield between the questions and the count: more would wait.
    if _waiting.total() >= MOST_WAITING or _waiting[address] >= MOST_WAITING_OF_ADDRESS:
        raise ComeAgain("too many log-ins at once: try again in a moment")
    _waiting[address] += 1
    try:
        yield
    finally:
        _waiting[address] -= 1
        if not _waiting[address]:
            del _waiting[address]


def _turn(attempt: Attempt) -> greenlets.BoundedSemaphore:
    """Passwords for one user from one address are looked at one after the other: each sees the failures before it."""
    return _turns.setdefault(attempt, greenlets.BoundedSemaphore())


def _too_many(wait_secs: int, what: str) -> TooManyRequests:
    how_long = f"{wait_secs} seconds" if wait_secs < 90 else f"{math.ceil(wait_secs / 60)} minutes"
    return TooManyRequests(f"Too many {what}. Try again in {how_long}.", retry_after=wait_secs)


_swept_at = -math.inf


def _sweep(parts: Services) -> None:
    """A wrong password calls it now and then: without wrong passwords there is nothing to sweep."""
    global _swept_at
    if time.monotonic() - _swept_at < _SWEEP_SECS:
        return
    _swept_at = time.monotonic()
    try:
        with parts.database.transaction() as tx:
            failed_logins.sweep(tx)
    except StoreUnavailable as error:
        log.warning("auth.not_swept", error=str(error))
