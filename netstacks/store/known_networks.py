"""The networks from which users have logged in. They identify known clients without cookies, such as programs."""

from datetime import timedelta
from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("known_networks")

# How long a network stays known after the last log-in from it.
KEPT = timedelta(days=90)


def is_known(tx: Transaction, user_id: UUID, network: str) -> bool:
    """Whether the user has logged in from `network` (as of `hosts.network`) within KEPT."""
    row = tx.execute(_SQL["is_known"], {"user_id": user_id, "network": network, "kept": KEPT}).fetchone()
    return bool(row and row["is_known"])


def note(tx: Transaction, user_id: UUID, network: str) -> None:
    """Records a log-in of the user from that network."""
    tx.execute(_SQL["note"], {"user_id": user_id, "network": network})
    tx.execute(_SQL["forget_old"], {"user_id": user_id, "kept": KEPT})
