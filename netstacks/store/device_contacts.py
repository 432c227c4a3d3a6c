"""The outcome of the last contact with a device, and the last use of a credential: one write per log-in to a device."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from netstacks.store.devices import Contact
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("device_contacts")

_MAX_CHARS = 500


@dataclass(frozen=True)
class Opening:
    """The outcome of a log-in to a device. `reason` is None when it succeeded."""

    device_id: UUID
    device_name: str
    credential_id: UUID
    username: str
    at: datetime
    contact: Contact
    reason: str | None = None


def note_opening(tx: Transaction, opening: Opening) -> None:
    """Stores it as the device's last contact and, if it succeeded, as the last use of its credential."""
    is_session = opening.contact == "reached"
    note(
        tx,
        opening.device_id,
        opening.contact,
        opening.reason,
        at=opening.at,
        by=opening.username,
        is_session=is_session,
    )
    if is_session:
        use = {"credential_id": opening.credential_id, "device_id": opening.device_id}
        names = {"username": opening.username, "device_name": opening.device_name}
        tx.execute(_SQL["note_use"], {**use, **names, "at": opening.at})


def note(
    tx: Transaction,
    device_id: UUID,
    contact: Contact,
    reason: str | None,
    *,
    at: datetime,
    by: str,
    is_session: bool = False,
) -> None:
    """Stores a contact, unless a newer one is stored. Does nothing for a device that was deleted."""
    values = {"contact": contact, "reason": reason and reason[:_MAX_CHARS], "at": at, "by": by}
    tx.execute(_SQL["note"], {"device_id": device_id, "is_session": is_session, **values})
