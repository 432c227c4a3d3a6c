"""Rows that a test needs and does not care for."""

import uuid
from typing import Any
from uuid import UUID

from netstacks.store import sessions
from netstacks.store.pool import Database


def make_session(database: Database, **facts: Any) -> UUID:
    """A live session of ctrl-1 at epoch 1; `facts` replace what it is made of."""
    session_id = uuid.uuid4()
    default = {
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
    with database.transaction() as tx:
        sessions.create(tx, session_id=session_id, **(default | facts))
    return session_id
