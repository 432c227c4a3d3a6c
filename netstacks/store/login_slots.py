"""Slots for concurrent log-ins to one device, limited across all instances."""

from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("login_slots")

# Concurrent log-ins per device: routers have few vty lines, and OpenSSH drops connections of a burst (MaxStartups).
SLOTS = 4


def take(tx: Transaction, host: str, port: int, holder: UUID, lease_secs: float) -> bool:
    """Takes a slot for `lease_secs`; False when none is free."""
    wanted = {"host": host, "port": port, "holder": holder, "slots": SLOTS, "lease_secs": lease_secs}
    return tx.execute(_SQL["take"], wanted).fetchone() is not None


def renew(tx: Transaction, host: str, port: int, holder: UUID, lease_secs: float) -> None:
    """Extends the lease of a slot to `lease_secs` from now."""
    tx.execute(_SQL["renew"], {"host": host, "port": port, "holder": holder, "lease_secs": lease_secs})


def give_back(tx: Transaction, host: str, port: int, holder: UUID) -> None:
    tx.execute(_SQL["give_back"], {"host": host, "port": port, "holder": holder})
