"""A cache of the state of log-ins in PostgreSQL, so that a revocation takes effect without a query per request."""

import math
import time
from uuid import UUID

from cachetools import LRUCache

from netstacks import greenlets, permissions
from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.permissions import Role
from netstacks.store import logins
from netstacks.store.pool import Database
from netstacks.web.auth.tokens import Subject

# The age of a cached answer. A withdrawal of access invalidates the cache of all reachable instances at once; this
# limit is for the others.
FRESH_SECS = 5.0
ASK_SECS = 3.0
# While PostgreSQL is unreachable, one request per interval tries it, and the others do not wait.
AWAY_SECS = 5.0
_MAX_KNOWN = 100_000
_MAX_ROLES = 1000


class LoginStates:
    """A revocation takes effect within FRESH_SECS. Without PostgreSQL its last answer counts, or else the token.

    The same holds for the permissions of roles. Before PostgreSQL has answered for a role, a built-in one has the
    permissions that this version gives it, and any other none.
    """

    def __init__(self, database: Database, *, max_days: int) -> None:
        """`max_days` is the maximum age of a log-in."""
        self._database = database
        self._max_days = max_days
        self._known: LRUCache[UUID, tuple[str | None, float]] = LRUCache(maxsize=_MAX_KNOWN)
        """By log-in, the name of the role and the time of the answer (monotonic clock)."""
        self._roles: LRUCache[str, Role] = LRUCache(maxsize=_MAX_ROLES)
        """By name, the roles as PostgreSQL last returned them."""
        self._roles_changed_at = -math.inf
        self._stale_at: LRUCache[UUID, float] = LRUCache(maxsize=_MAX_KNOWN)
        """By user and log-in, the time before which answers of PostgreSQL are invalid."""
        self._withdrawn: LRUCache[UUID, bool] = LRUCache(maxsize=_MAX_KNOWN)
        """Users and log-ins without access, to refuse them also while PostgreSQL is unreachable."""
        self._away_until = -math.inf
        self._revocations = 0
        self._queries: dict[UUID, greenlets.AsyncResult[Role | None]] = {}
        """Queries in progress by log-in: concurrent requests wait for the same answer."""

    def role(self, subject: Subject, *, anew: bool = False) -> Role | None:
        """The current role of the log-in; None when it was revoked or has ended.

        `anew` queries PostgreSQL, unless it is known to be unreachable. Raises StoreBusy.
        """
        role, checked_at = self._last(subject)
        now = time.monotonic()
        if (now - checked_at < FRESH_SECS and not anew) or now < self._away_until:
            return role
        # No yield between the check and the insert: two requests would both query.
        if not anew and (query := self._queries.get(subject.login_id)) is not None:
            answer: Role | None = query.get()
            return answer
        query = self._queries[subject.login_id] = greenlets.AsyncResult()
        try:
            role = self._query(subject, role)
            query.set(role)
        except BaseException as error:
            query.set_exception(error)
            raise
        finally:
            if self._queries.get(subject.login_id) is query:
                del self._queries[subject.login_id]
        return role

    def _query(self, subject: Subject, role: Role | None) -> Role | None:
        """The role in PostgreSQL, or `role`, the last known one, while PostgreSQL is unreachable."""
        now, revocations = time.monotonic(), self._revocations
        if self._away_until > 0:
            self._away_until = now + AWAY_SECS
        try:
            with self._database.transaction(timeout_secs=ASK_SECS) as tx:
                role = logins.role(tx, subject.login_id, max_days=self._max_days)
        except StoreBusy:
            self._away_until = -math.inf
            raise  # PostgreSQL answers others, so its last answer must not count: the client tries again.
        except StoreUnavailable:
            self._away_until = time.monotonic() + AWAY_SECS
            return role
        self._away_until = -math.inf
        # A revocation during the query: the answer may be from before it.
        if revocations == self._revocations:
            self._known[subject.login_id] = role.name if role else None, now
            if role is not None:
                self._roles[role.name] = role
                self._withdrawn.pop(subject.user_id, None)
        return role

    def last_known_role(self, subject: Subject) -> Role | None:
        """The last answer of `role`, or else the token's role, without a query."""
        return self._last(subject)[0]

    def _last(self, subject: Subject) -> tuple[Role | None, float]:
        """The last known role, and the time of the answer; the token's own role when there is none."""
        ids = (subject.user_id, subject.login_id)
        name, checked_at = self._known.get(subject.login_id, (subject.role, -math.inf))
        if checked_at <= max(self._roles_changed_at, *(self._stale_at.get(each, -math.inf) for each in ids)):
            checked_at = -math.inf
        if name is None or any(each in self._withdrawn for each in ids):
            return None, checked_at
        return self._roles.get(name) or permissions.preset(name), checked_at

    def forget_role(self, name: str) -> None:
        """Invalidates what is known of a role that was changed, and so the answers about all log-ins."""
        self._revocations += 1
        self._roles.pop(name, None)
        self._roles_changed_at = time.monotonic()
        self._queries.clear()

    def forget(self, withdrawal: Withdrawal) -> None:
        """Invalidates the answers about a user's log-ins, and records the withdrawal."""
        self._revocations += 1
        withdrawn = [*withdrawal.login_ids]
        if withdrawal.scope is Scope.ACCESS:
            withdrawn.append(withdrawal.user_id)
        self._withdrawn.update(dict.fromkeys(withdrawn, True))
        stale = withdrawal.login_ids if withdrawal.scope is Scope.LOGINS else (withdrawal.user_id,)
        self._stale_at.update(dict.fromkeys(stale, time.monotonic()))
        # Queries that began before the withdrawal must not be shared with later requests.
        self._queries.clear()
