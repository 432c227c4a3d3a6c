"""Which log-ins are of users without a second factor, cached for some seconds."""

import math
import time
from uuid import UUID

from cachetools import TTLCache

from netstacks.errors import StoreBusy, StoreUnavailable
from netstacks.store import second_factors
from netstacks.store.pool import Database

_FRESH_SECS = 5.0
_ASK_SECS = 3.0
# While PostgreSQL is unreachable, one request per interval tries it, and the others do not wait.
_AWAY_SECS = 5.0
_MAX_KNOWN = 100_000


class FactorStates:
    """Without PostgreSQL, a log-in about which nothing is known is not held up.

    It was proven by a password, and nothing new can be opened.
    """

    def __init__(self) -> None:
        self._away_until = -math.inf
        self._settled: TTLCache[UUID, bool] = TTLCache(_MAX_KNOWN, _FRESH_SECS)
        """Log-ins that may go on. Others are looked up each time, and go on once their user has set a factor up."""

    def must_set_up(self, database: Database, login_id: UUID) -> bool:
        """Whether the log-in was proven by a password alone, of a user without a second factor. Raises StoreBusy."""
        if login_id in self._settled or time.monotonic() < self._away_until:
            return False
        try:
            with database.transaction(timeout_secs=_ASK_SECS) as tx:
                has_none = second_factors.must_set_up(tx, login_id)
        except StoreBusy:
            raise  # PostgreSQL answers others: the client tries again.
        except StoreUnavailable:
            self._away_until = time.monotonic() + _AWAY_SECS
            return False
        if not has_none:
            self._settled[login_id] = True
        return has_none
