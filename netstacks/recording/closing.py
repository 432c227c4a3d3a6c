"""The end of an instance's ownership of a session, in one transaction with the last chunk of the recording."""

from dataclasses import dataclass
from uuid import UUID

from netstacks.store import audit, sessions
from netstacks.store.audit import Actor
from netstacks.store.pool import Transaction


@dataclass(frozen=True)
class Closing:
    """`ended`: the session is over; else it is released, so that another instance can claim it at once."""

    ended: bool
    reason: str
    user_id: UUID
    username: str
    device_name: str


def close(tx: Transaction, session_id: UUID, epoch: int, closing: Closing) -> None:
    """Ends or releases the session at `epoch`, with an audit row; does nothing when the session has another epoch."""
    if closing.ended:
        row = sessions.end(tx, session_id, epoch, closing.reason)
    else:
        row = sessions.release(tx, session_id, epoch)
    if row is not None:
        event = "session.closed" if closing.ended else "session.released"
        actor = Actor(closing.username, closing.user_id)
        audit.append(tx, actor, event, f"session:{session_id}", device=closing.device_name, reason=closing.reason)
