"""Wrong passwords of late, counted for all instances together: guessing becomes slow, by whatever number of addresses.

One user's passwords from one address, one user's from anywhere, and any user's from one address: each has attempts
without a wait, and then a wait that grows. The two latter hold up strangers only. Where a user has logged in before,
only what is guessed for that user there counts, so that guesses keep no user out. Names that no user has count like the
others.
"""

import hashlib
import ipaddress
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("failed_logins")

# So many attempts in a row cost no wait. The next waits for the first of these, and each that follows twice as long.
FREE_ATTEMPTS = 10
FIRST_WAIT_SECS = 10
LONGEST_WAIT_SECS = 300
# So many at a user, and from an address, cost strangers no wait. Theirs grows less far: they share it.
MOST_OF_ACCOUNT = 100
MOST_OF_ADDRESS = 100
LONGEST_SHARED_WAIT_SECS = 60
# Attempts this far apart have nothing to do with each other.
WINDOW_SECS = 900
# However many names are guessed, there are no more rows than these, and those of one sweep.
MOST_ROWS = 200_000
_SWEEP_STEP = 10_000


@dataclass(frozen=True)
class Attempt:
    """A log-in that is being tried: `account` is a user's id, or a name that no user has.

    `device` is one at which this user has logged in before. `is_known` says that, or that the user has logged in from
    this address.
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
    """After how many seconds the attempt may be made, 0 for now.

    `shared_secs` is the wait of strangers, None where not too much was guessed. `is_for_all` says whether a failure
    counts for them, too: one by a user who is let through during their wait must not prolong it.
    """

    wait_secs: int
    shared_secs: int | None
    is_for_all: bool


class _Limit(NamedTuple):
    """Limits of one group are kept together: all of them are open, or the attempt begins no wait of any of them."""

    key: bytes
    free: int
    longest_secs: int
    is_sliding: bool
    """Whether the count goes on until nothing has failed for a window; else it ends with the window that it began."""
    group: int


_OWN, _SHARED = 0, 1


def network(address: str | None) -> str:
    """What counts as one address: of IPv6 the network, which has more addresses than anybody could count."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def reserve(tx: Transaction, attempt: Attempt) -> Throttle:
    """Asks whether the password of an attempt may be looked at. Only failures count, see `note`.

    Between two waits one attempt is let through, however many ask at the same moment and at whatever instance.
    """
    limits = _limits(attempt)
    reached = {row["key"]: float(row["secs"]) for row in tx.execute(_SQL["reached"], _values(limits)).fetchall()}
    waits = _longest((each.group, reached[each.key]) for each in limits if each.key in reached)
    shared = [reached[each.key] for each in limits[1:] if each.key in reached]
    if waits and waits.get(_OWN, 0) <= 0:
        rows = tx.execute(_SQL["reserve"], _values([each for each in limits if each.key in reached])).fetchall()
        waits = _longest((row["group"], float(row["secs"])) for row in rows)
    return Throttle(
        _whole(waits.get(_OWN, 0)), _whole(max(shared)) if shared else None, is_for_all=waits.get(_SHARED, 0) <= 0
    )


def _limits(attempt: Attempt) -> list[_Limit]:
    shared = _SHARED if attempt.is_known else _OWN
    return [
        _Limit(attempt.pair_key, FREE_ATTEMPTS, LONGEST_WAIT_SECS, True, _OWN),
        _Limit(attempt.account_key, MOST_OF_ACCOUNT, LONGEST_SHARED_WAIT_SECS, True, shared),
        # An office makes a mistake now and then all day.
        _Limit(attempt.address_key, MOST_OF_ADDRESS, LONGEST_SHARED_WAIT_SECS, False, shared),
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
    """The password was wrong. Returns whether the address has guessed too much from now on.

    To be called late in a transaction: everybody at the address waits for its rows.
    """
    statements = {attempt.pair_key: "note_pair", attempt.account_key: "note_pair", attempt.address_key: "note"}
    failures = {}
    # In one order everywhere: two that wait for each other's rows would be a deadlock.
    for key, statement in sorted(statements.items()):
        row = tx.execute(_SQL[statement], {"key": key, "window_secs": WINDOW_SECS}).fetchone()
        failures[key] = row["failures"] if row else 0
    return failures[attempt.address_key] == MOST_OF_ADDRESS


def note_pair(tx: Transaction, attempt: Attempt) -> None:
    """The password was wrong, which counts for this user at this address alone."""
    tx.execute(_SQL["note_pair"], {"key": attempt.pair_key, "window_secs": WINDOW_SECS})


def forgive(tx: Transaction, attempt: Attempt) -> None:
    """The password was right: what that user got wrong at that address before is forgotten."""
    tx.execute(_SQL["forgive"], {"key": attempt.pair_key})


def sweep(tx: Transaction) -> int:
    """Deletes a bounded number of rows that say nothing any more, or are too many; returns how many."""
    values = {"window_secs": WINDOW_SECS, "most_rows": MOST_ROWS - 1, "step": _SWEEP_STEP}
    return tx.execute(_SQL["sweep"], values).rowcount


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).digest()
