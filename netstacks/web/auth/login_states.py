"""What PostgreSQL last said about each log-in, so that revoking one takes effect without a query per request."""

import math
import time
from uuid import UUID

from cachetools import LRUCache

from netstacks import greenlets
from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.instance.withdrawals import What, Withdrawal
from netstacks.store import logins
from netstacks.store.pool import Database
from netstacks.web.auth.tokens import Subject

# A withdrawal of access empties this memory on every instance that can be reached, at once. This is for the others.
FRESH_SECS = 5.0
ASK_SECS = 3.0
# While PostgreSQL is away, one request in this time finds out whether it is back, and the others do not wait.
AWAY_SECS = 5.0
_MOST_KNOWN = 100_000


class LoginStates:
    """A revocation counts within FRESH_SECS; without PostgreSQL its last answer does, or else the token's claims."""

    def __init__(self, database: Database, *, max_days: int) -> None:
        """`max_days`: how old a log-in may become."""
        self._database = database
        self._max_days = max_days
        self._known: LRUCache[UUID, tuple[str | None, float]] = LRUCache(maxsize=_MOST_KNOWN)
        """Of a log-in the role, and when PostgreSQL said so."""
        self._stale_at: LRUCache[UUID, float] = LRUCache(maxsize=_MOST_KNOWN)
        """Users and log-ins about which nothing that PostgreSQL said before counts."""
        self._withdrawn: LRUCache[UUID, bool] = LRUCache(maxsize=_MOST_KNOWN)
        """Users and log-ins without access, so that they are still known while PostgreSQL is away."""
        self._away_until = -math.inf
        self._revocations = 0
        self._asking: dict[UUID, greenlets.AsyncResult[str | None]] = {}
        """Log-ins about which PostgreSQL is being asked: requests that come meanwhile wait for the same answer."""

    def role(self, subject: Subject, *, anew: bool = False) -> str | None:
        """The role that the log-in gives now; None when it was revoked or has ended.

        `anew` asks PostgreSQL, unless it is known to be away.
        """
        role, checked_at = self._last(subject)
        now = time.monotonic()
        if (now - checked_at < FRESH_SECS and not anew) or now < self._away_until:
            return role
        # No yield between the look and the entry: both would ask.
        if not anew and (asked := self._asking.get(subject.login_id)) is not None:
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
                role = logins.role(tx, subject.login_id, max_days=self._max_days)
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
            if role is not None:
                self._withdrawn.pop(subject.user_id, None)
        return role

    def last_known_role(self, subject: Subject) -> str | None:
        """What `role` said last, or else the token, without asking."""
        return self._last(subject)[0]

    def _last(self, subject: Subject) -> tuple[str | None, float]:
        """What is known, and since when; the token's own role when nothing is known."""
        ids = (subject.user_id, subject.login_id)
        role, checked_at = self._known.get(subject.login_id, (subject.role, -math.inf))
        if checked_at <= max(self._stale_at.get(each, -math.inf) for each in ids):
            checked_at = -math.inf
        return None if any(each in self._withdrawn for each in ids) else role, checked_at

    def forget(self, withdrawal: Withdrawal) -> None:
        """Makes this instance ask again about a user's log-ins, and remembers what has been withdrawn."""
        self._revocations += 1
        withdrawn = [*withdrawal.login_ids]
        if withdrawal.what is What.ACCESS:
            withdrawn.append(withdrawal.user_id)
        self._withdrawn.update(dict.fromkeys(withdrawn, True))
        stale = withdrawal.login_ids if withdrawal.what is What.LOGINS else (withdrawal.user_id,)
        self._stale_at.update(dict.fromkeys(stale, time.monotonic()))
        # Nor is an answer shared that PostgreSQL began to give before.
        self._asking.clear()
