"""Limits on the passwords that one instance checks at once: how many requests wait, and which checks run in turn."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from weakref import WeakValueDictionary

import structlog

from netstacks import greenlets
from netstacks.errors import RetryLater, StoreUnavailable
from netstacks.store import failed_logins
from netstacks.store.failed_logins import Attempt
from netstacks.store.pool import Database

log = structlog.get_logger()

# An instance checks two passwords at a time (netstacks.crypto.passwords). This many requests may wait for a check, in
# total and from one address. Users who are logged in, and browsers in which a user has logged in before, have slots
# of their own: requests from unknown clients cannot use them up.
MAX_WAITING = 300
MAX_WAITING_OF_ADDRESS = 30
MAX_WAITING_MARKED = 100
_SWEEP_SECS = 60.0


class PasswordChecks:
    """The password checks that are in progress or waiting on this instance, and the sweep of stored failures."""

    def __init__(self) -> None:
        # A source (an address or a browser) without requests has no entry: the size follows the load.
        self._waiting: Counter[str] = Counter()
        self._waiting_marked: Counter[str] = Counter()
        # Weak: a lock exists while a request holds it or waits for it.
        self._locks: WeakValueDictionary[Attempt | str, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._swept_at = -math.inf

    @contextlib.contextmanager
    def slot(self, source: str, *, is_known: bool) -> Iterator[None]:
        """Holds a slot for one request; `source` is its address, or its browser where `is_known`.

        Raises RetryLater when no slot is free.
        """
        if is_known:
            waiting, most = self._waiting_marked, MAX_WAITING_MARKED
        else:
            waiting, most = self._waiting, MAX_WAITING
        # No yield between the check and the increment: two requests could take the last slot.
        if waiting.total() >= most or waiting[source] >= MAX_WAITING_OF_ADDRESS:
            raise RetryLater("Too many log-ins at once. Try again in a moment.")
        waiting[source] += 1
        try:
            yield
        finally:
            waiting[source] -= 1
            if not waiting[source]:
                del waiting[source]

    def lock(self, attempt: Attempt) -> greenlets.BoundedSemaphore:
        """The lock under which a password is checked, so that each attempt sees the failures before it.

        Attempts of unknown clients on one account share a lock, whatever address they come from. Attempts of a known
        user share a lock only with those from the same place.
        """
        return self._locks.setdefault(attempt if attempt.is_known else attempt.account, greenlets.BoundedSemaphore())

    def sweep(self, database: Database) -> None:
        """Deletes expired failures, once a minute at most. Each wrong password calls it: no others need a sweep."""
        if time.monotonic() - self._swept_at < _SWEEP_SECS:
            return
        self._swept_at = time.monotonic()
        try:
            with database.transaction() as tx:
                failed_logins.sweep(tx)
        except StoreUnavailable as error:
            log.warning("auth.not_swept", error=str(error))
