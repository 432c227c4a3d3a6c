"""Wrong passwords of late, counted for all instances together: guessing one user's from one address becomes slow.

Guesses never keep other users out: a user waits only at the address that the guesses come from. Names that no user has
count like the others.
"""

import hashlib
import ipaddress
import math
from dataclasses import dataclass

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("failed_logins")

# So many attempts in a row cost no wait. The next waits for the first of these, and each that follows twice as long.
FREE_ATTEMPTS = 10
FIRST_WAIT_SECS = 10
LONGEST_WAIT_SECS = 300
# A user guessed at from many addresses, or an address that guesses many users, gets fewer without a wait.
FEWER_ATTEMPTS = 3
MOST_OF_ACCOUNT = 100
MOST_OF_ADDRESS = 100
# Attempts this far apart have nothing to do with each other.
WINDOW_SECS = 900
# However many names are guessed, there are no more rows than these, and those of one sweep.
MOST_ROWS = 200_000
_SWEEP_STEP = 10_000


@dataclass(frozen=True)
class Attempt:
    """A log-in that is being tried: `account` is a user's id, or a name that no user has."""

    account: str
    address: str

    @property
    def pair_key(self) -> bytes:
        return _key("pair", self.account, self.address)

    @property
    def account_key(self) -> bytes:
        return _key("account", self.account)

    @property
    def address_key(self) -> bytes:
        return _key("address", self.address)


@dataclass(frozen=True)
class Throttle:
    """After how many seconds the attempt may be made, 0 for now; and whether its address has guessed too much."""

    wait_secs: int
    is_of_address: bool


def network(address: str | None) -> str:
    """What counts as one address: of IPv6 the network, which has more addresses than anybody could count."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


def free_attempts(account_failures: int, address_failures: int) -> int:
    """How many attempts of one user from one address cost no wait, by the failures of that user and that address."""
    is_many = account_failures >= MOST_OF_ACCOUNT or address_failures >= MOST_OF_ADDRESS
    return FEWER_ATTEMPTS if is_many else FREE_ATTEMPTS


def reserve(tx: Transaction, attempt: Attempt) -> Throttle:
    """Asks whether the password of an attempt may be looked at. Only failures count, see `note`.

    Between two waits one attempt is let through, however many ask at the same moment and at whatever instance.
    """
    keys = [attempt.account_key, attempt.address_key]
    rows = tx.execute(_SQL["count"], {"keys": keys, "window_secs": WINDOW_SECS}).fetchall()
    failures = {row["key"]: row["failures"] for row in rows}
    values = {
        "key": attempt.pair_key,
        "free": free_attempts(*(failures.get(key, 0) for key in keys)),
        "window_secs": WINDOW_SECS,
        "first_secs": FIRST_WAIT_SECS,
        "longest_secs": LONGEST_WAIT_SECS,
    }
    is_of_address = failures.get(attempt.address_key, 0) >= MOST_OF_ADDRESS
    if tx.execute(_SQL["reserve"], values).fetchone() is not None:
        return Throttle(0, is_of_address)
    row = tx.execute(_SQL["wait_secs"], values).fetchone()
    return Throttle(max(1, math.ceil(row["secs"])) if row else 0, is_of_address)


def note(tx: Transaction, attempt: Attempt) -> bool:
    """The password was wrong. Returns whether the address has guessed too much from now on.

    To be called late in a transaction: everybody at the address waits for its rows.
    """
    note_pair(tx, attempt)
    failures = {}
    # In one order everywhere: two that wait for each other's rows would be a deadlock.
    for key in sorted((attempt.account_key, attempt.address_key)):
        row = tx.execute(_SQL["note"], {"key": key, "window_secs": WINDOW_SECS}).fetchone()
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
