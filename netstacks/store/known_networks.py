"""From where users have logged in: what tells a user who has no cookie, as programs have none, from a stranger."""

from datetime import timedelta
from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("known_networks")

# After the last log-in from there.
KEPT = timedelta(days=90)


def is_known(tx: Transaction, user_id: UUID, network: str) -> bool:
    """Whether the user has logged in from this network, which `failed_logins.network` names."""
    row = tx.execute(_SQL["is_known"], {"user_id": user_id, "network": network, "kept": KEPT}).fetchone()
    return bool(row and row["is_known"])


def note(tx: Transaction, user_id: UUID, network: str) -> None:
    """The user has logged in from there."""
    tx.execute(_SQL["note"], {"user_id": user_id, "network": network})
    tx.execute(_SQL["forget_old"], {"user_id": user_id, "kept": KEPT})
