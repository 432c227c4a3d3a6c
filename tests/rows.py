"""Rows that a test needs and whose values do not matter to it."""

import uuid
from typing import Any
from uuid import UUID

from netstacks.recording import storage
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.storage import Batch
from netstacks.store import sessions
from netstacks.store.pool import Database, Transaction


def make_session(database: Database, **facts: Any) -> UUID:
    """A live session of ctrl-1 at epoch 1; `facts` replace the default columns."""
    with database.transaction() as tx:
        return insert_session(tx, **facts)


def insert_session(tx: Transaction, **facts: Any) -> UUID:
    """The same in a transaction of the caller's."""
    default = {
        "session_id": uuid.uuid4(),
        "user_id": uuid.uuid4(),
        "username": "ana",
        "device_id": None,
        "device_name": "r1",
        "host": "192.0.2.1",
        "port": 22,
        "credential_id": None,
        "term": "xterm",
        "cols": 80,
        "rows": 24,
        "owner": "ctrl-1",
        "owner_address": None,
        "token": uuid.uuid4(),
    }
    return sessions.create(tx, **(default | facts)).id


def make_user(database: Database, user_id: UUID, username: str = "ana", role: str = "operator") -> None:
    """A user with the permission to open terminals, whose password hash fits no password."""
    with database.transaction() as tx:
        tx.execute(
            "INSERT INTO users (id, username, role, password_hash) VALUES (%s, %s, %s, '-')", (user_id, username, role)
        )


def record(database: Database, session_id: UUID, *events: tuple[EventKind, bytes]) -> None:
    """The only chunk of a session's recording at epoch 1."""
    chunk = make_chunk(b"", session_id, 1, 0, 0, [Event(1000.0 + at, *event) for at, event in enumerate(events)])
    with database.transaction() as tx:
        assert storage.save(tx, [Batch(session_id, 1, 0, [chunk])]) == []
