"""Rate limits on wrong passwords, shared by all instances, that slow guessing down from any number of addresses.

Failures are counted for one user from one address, for one user from all addresses, and for all users from one address.
Each counter allows some attempts at once, then requires a growing wait. The latter two apply only to clients that have
not logged in before: at a known device or address, only the failures of that user there count, so that an attacker
cannot lock a user out. Unknown user names count like existing ones, which does not reveal what exists.
"""

import hashlib
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("failed_logins")

# Consecutive failures without a wait. The wait after them starts at FIRST_WAIT_SECS and doubles with each failure.
FREE_ATTEMPTS = 10
FIRST_WAIT_SECS = 10
MAX_WAIT_SECS = 300
# The same for the counters of a user and of an address. Their waits are shorter, because unrelated clients share them.
MAX_OF_ACCOUNT = 100
MAX_OF_ADDRESS = 100
MAX_SHARED_WAIT_SECS = 60
# A counter is reset this long after its last failure, or after its first one (`_Limit.is_sliding`).
WINDOW_SECS = 900
# The limit of rows, however many names are guessed; between two sweeps there may be more.
MAX_ROWS = 200_000
_SWEEP_STEP = 10_000


@dataclass(frozen=True)
class Attempt:
    """A log-in attempt: `account` is a user's id, or a user name that does not exist.

    `device` identifies a device on which this user has logged in before. `is_known` is true with a `device`, or when
    the user has logged in from this address before.
    """

    account: str
    address: str
    device: str | None = None
    is_known: bool = False

    @property
    def pair_key(self) -> bytes:
        return _key("pair", self.account, f"device {self.device}" if self.device else self.address)

    @property
    def account_key(self) -> bytes:
        return _key("account", self.account)

    @property
    def address_key(self) -> bytes:
        return _key("address", self.address)


@dataclass(frozen=True)
class Throttle:
    """The wait before the attempt in seconds, 0 for none.

    `shared_secs` is the wait of the shared counters, None while they are below their limits. `is_for_all` says whether
    a failure counts there too: the failure of a known user during that wait must not prolong it for others.
    """

    wait_secs: int
    shared_secs: int | None
    is_for_all: bool


@dataclass(frozen=True)
class Lockout:
    """The limit of one user from one place: the attempts without a wait, and the longest wait after them.

    An administrator can make it stricter, never milder.
    """

    free_attempts: int = FREE_ATTEMPTS
    longest_wait_secs: int = MAX_WAIT_SECS


class _Limit(NamedTuple):
    """The limit of one counter. Limits of one `group` are reserved together: all of them, or none."""

    key: bytes
    free: int
    longest_secs: int
    is_sliding: bool
    """Whether the window restarts with each failure; else it ends WINDOW_SECS after its first failure."""
    group: int


_OWN, _SHARED = 0, 1


def reserve(tx: Transaction, attempt: Attempt, lockout: Lockout | None = None) -> Throttle:
    """Decides whether the password of an attempt may be checked. Only failures count, see `note`.

    After each wait exactly one attempt is allowed, however many arrive at the same time and at any instance. Without
    `lockout` the built-in limits apply.
    """
    limits = _limits(attempt, lockout or Lockout())
    reached = {row["key"]: float(row["secs"]) for row in tx.execute(_SQL["reached"], _values(limits)).fetchall()}
    waits = _longest((each.group, reached[each.key]) for each in limits if each.key in reached)
    shared = [reached[each.key] for each in limits[1:] if each.key in reached]
    if waits and waits.get(_OWN, 0) <= 0:
        rows = tx.execute(_SQL["reserve"], _values([each for each in limits if each.key in reached])).fetchall()
        waits = _longest((row["group"], float(row["secs"])) for row in rows)
    return Throttle(
        _whole(waits.get(_OWN, 0)), _whole(max(shared)) if shared else None, is_for_all=waits.get(_SHARED, 0) <= 0
    )


def _limits(attempt: Attempt, lockout: Lockout) -> list[_Limit]:
    shared = _SHARED if attempt.is_known else _OWN
    return [
        _Limit(attempt.pair_key, lockout.free_attempts, lockout.longest_wait_secs, True, _OWN),
        _Limit(attempt.account_key, MAX_OF_ACCOUNT, MAX_SHARED_WAIT_SECS, True, shared),
        # Not sliding: a shared address has occasional typing errors all day.
        _Limit(attempt.address_key, MAX_OF_ADDRESS, MAX_SHARED_WAIT_SECS, False, shared),
    ]


def _longest(waits: Iterable[tuple[int, float]]) -> dict[int, float]:
    longest: dict[int, float] = {}
    for group, secs in waits:
        longest[group] = max(secs, longest.get(group, secs))
    return longest


def _values(limits: Collection[_Limit]) -> dict[str, object]:
    columns = {name: [getattr(each, name) for each in limits] for name in _Limit._fields}
    return {**columns, "first_secs": FIRST_WAIT_SECS, "window_secs": WINDOW_SECS}


def _whole(secs: float) -> int:
    return max(0, math.ceil(secs))


def note(tx: Transaction, attempt: Attempt) -> bool:
    """Counts a wrong password. Returns whether the address has just reached its limit.

    To be called late in a transaction: all log-ins from the address wait for its row.
    """
    statements = {attempt.pair_key: "note_pair", attempt.account_key: "note_pair", attempt.address_key: "note"}
    failures = {}
    # All transactions lock the rows in this order; different orders would deadlock.
    for key, statement in sorted(statements.items()):
        row = tx.execute(_SQL[statement], {"key": key, "window_secs": WINDOW_SECS}).fetchone()
        failures[key] = row["failures"] if row else 0
    return failures[attempt.address_key] == MAX_OF_ADDRESS


def note_pair(tx: Transaction, attempt: Attempt) -> None:
    """Counts a wrong password for this user at this address only."""
    tx.execute(_SQL["note_pair"], {"key": attempt.pair_key, "window_secs": WINDOW_SECS})


def forgive(tx: Transaction, attempt: Attempt) -> None:
    """Resets the counter of this user at this address after a correct password."""
    tx.execute(_SQL["forgive"], {"key": attempt.pair_key})


def sweep(tx: Transaction) -> int:
    """Deletes a bounded number of rows that are expired or beyond MAX_ROWS; returns their number."""
    values = {"window_secs": WINDOW_SECS, "most_rows": MAX_ROWS - 1, "step": _SWEEP_STEP}
    return tx.execute(_SQL["sweep"], values).rowcount


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).digest()
