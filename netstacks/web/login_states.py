"""What PostgreSQL last said about each log-in, so that revoking one takes effect without a query per request."""

import math
import time
from uuid import UUID

from cachetools import LRUCache

from netstacks import greenlets
from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.store import logins
from netstacks.store.pool import Database
from netstacks.web.tokens import Subject

FRESH_SECS = 15.0
ASK_SECS = 3.0
# While PostgreSQL is away, one request in this time finds out whether it is back, and the others do not wait.
AWAY_SECS = 5.0


class LoginStates:
    """A revocation counts within FRESH_SECS; without PostgreSQL its last answer does, or else the token's claims."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: LRUCache[UUID, tuple[str | None, float]] = LRUCache(maxsize=100_000)
        self._away_until = -math.inf
        self._revocations = 0
        self._asking: dict[UUID, greenlets.AsyncResult[str | None]] = {}
        """Log-ins about which PostgreSQL is being asked: requests that come meanwhile wait for the same answer."""

    def role(self, subject: Subject) -> str | None:
        """The role that the log-in gives now; None when it was revoked or has ended."""
        role, checked_at = self._known.get(subject.login_id, (subject.role, -math.inf))
        now = time.monotonic()
        if now - checked_at < FRESH_SECS or now < self._away_until:
            return role
        # No yield between the look and the entry: both would ask.
        if (asked := self._asking.get(subject.login_id)) is not None:
            answer: str | None = asked.get()
            return answer
        asked = self._asking[subject.login_id] = greenlets.AsyncResult()
        try:
            role = self._ask(subject, role)
            asked.set(role)
        except BaseException as error:
            asked.set_exception(error)
            raise
        finally:
            if self._asking.get(subject.login_id) is asked:
                del self._asking[subject.login_id]
        return role

    def _ask(self, subject: Subject, role: str | None) -> str | None:
        """What PostgreSQL says, or `role`, the last that is known, while it is away."""
        now, revocations = time.monotonic(), self._revocations
        if self._away_until > 0:
            self._away_until = now + AWAY_SECS
        try:
            with self._database.transaction(timeout_secs=ASK_SECS) as tx:
                role = logins.role(tx, subject.login_id)
        except StoreBusy:
            self._away_until = -math.inf
            raise  # A revocation is looked at all the same: the client comes again.
        except StoreUnavailable:
            self._away_until = time.monotonic() + AWAY_SECS
            return role
        self._away_until = -math.inf
        # An answer from before a revocation is not kept.
        if revocations == self._revocations:
            self._known[subject.login_id] = role, now
        return role

    def last_known_role(self, subject: Subject) -> str | None:
        """What `role` said last, or else the token, without asking."""
        return self._known.get(subject.login_id, (subject.role, 0.0))[0]

    def forget(self) -> None:
        """Makes this instance ask again about every log-in: one was revoked, or a user changed."""
        self._revocations += 1
        self._known.clear()
        # Nor is an answer shared that PostgreSQL began to give before.
        self._asking.clear()
