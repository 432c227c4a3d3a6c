"""The facts of a live session from its row in PostgreSQL."""

from uuid import UUID

from netstacks.store.sessions import SessionRow
from netstacks.terminal.session_facts import SessionFacts


def facts_of(row: SessionRow, *, owner: str, token: UUID) -> SessionFacts:
    """The facts of the session of a row that names `owner`; `token` is its reconnect token."""
    return SessionFacts(
        id=row.id,
        epoch=row.epoch,
        owner=owner,
        user_id=row.user_id,
        username=row.username,
        device_id=row.device_id,
        device_name=row.device_name,
        host=row.host,
        port=row.port,
        credential_id=row.credential_id,
        token=token,
        term=row.term,
        started_at=row.started_at.timestamp(),
    )
