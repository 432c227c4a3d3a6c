"""Turns at logging in to a device: so many at once, of all instances together."""

from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("login_turns")

# As many log-ins at one device at a time: routers have few lines, and OpenSSH drops who comes in a crowd.
TURNS = 4


def take(tx: Transaction, host: str, port: int, holder: UUID, lease_secs: float) -> bool:
    """Takes a turn for `lease_secs`; False when there is none now."""
    wanted = {"host": host, "port": port, "holder": holder, "turns": TURNS, "lease_secs": lease_secs}
    return tx.execute(_SQL["take"], wanted).fetchone() is not None


def renew(tx: Transaction, host: str, port: int, holder: UUID, lease_secs: float) -> None:
    """Keeps a turn for `lease_secs` from now on."""
    tx.execute(_SQL["renew"], {"host": host, "port": port, "holder": holder, "lease_secs": lease_secs})


def give_back(tx: Transaction, host: str, port: int, holder: UUID) -> None:
    tx.execute(_SQL["give_back"], {"host": host, "port": port, "holder": holder})
