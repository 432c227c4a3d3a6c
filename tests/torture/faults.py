"""Faults beside signals: processes caught in a transaction, hidden records, and locks."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import psycopg
import requests

from tests.acceptance.lab import Lab
from tests.controller import Controller
from tests.ports import free_port
from tests.wire import Wire

# On a slow network transactions last longer, and are met sooner.
_SLOW_SECS = 0.03
_CATCH_SECS = 4
# What was on its way has arrived by then.
_ARRIVAL_SECS = 0.15
# A frozen instance may hold rows: a lock of the whole table waits behind all of them.
_LOCK_WAIT_SECS = 20
_READERS_EACH, _READ_SECS = 12, 12
_HOLDS_ROWS = (
    "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name = %s AND granted"
    " AND relation = 'sessions'::regclass AND mode = 'RowExclusiveLock' AND backend_xid IS NOT NULL"
    " AND state = 'idle in transaction')"
)


def freeze_in_transaction(controller: Controller, wire: Wire, database_url: str) -> bool:
    """Freezes it while PostgreSQL waits for its next statement in a transaction that holds rows of sessions.

    If it is never met inside of one it is frozen all the same; returns whether it was met.
    """
    instance_id = controller.health().get("instance_id", "")
    give_up_at = time.monotonic() + _CATCH_SECS
    wire.delay(_SLOW_SECS)
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            while time.monotonic() < give_up_at:
                if _holds_rows(connection, instance_id):
                    controller.freeze()
                    time.sleep(_ARRIVAL_SECS)
                    if _holds_rows(connection, instance_id):
                        return True
                    controller.thaw()
                time.sleep(0.005)
    finally:
        wire.delay(0)
    controller.freeze()
    return False


def _holds_rows(connection: psycopg.Connection[tuple[bool]], instance_id: str) -> bool:
    row = connection.execute(_HOLDS_ROWS, (instance_id,)).fetchone()
    assert row is not None
    return bool(row[0])


@contextlib.contextmanager
def locked(table: str, database_url: str, labs: Sequence[Lab]) -> Iterator[None]:
    """A lock keeps all transactions from the table while many requests for lists come; then it is released."""
    with psycopg.connect(database_url) as connection:
        connection.execute(f"SET lock_timeout = '{_LOCK_WAIT_SECS}s'".encode())
        with contextlib.suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        with _readers(labs):
            yield
        connection.rollback()


@contextlib.contextmanager
def _readers(labs: Sequence[Lab]) -> Iterator[None]:
    stopping = threading.Event()
    readers = [threading.Thread(target=_read, args=(lab, stopping)) for lab in labs for _ in range(_READERS_EACH)]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        stopping.set()
        for reader in readers:
            reader.join()


def _read(lab: Lab, stopping: threading.Event) -> None:
    url = f"{lab.api.controller.url}/api/sessions"
    headers = {"Authorization": f"Bearer {lab.api.token}"}
    while not stopping.wait(0.2):
        with contextlib.suppress(requests.RequestException):
            requests.get(url, headers=headers, timeout=(1, _READ_SECS))


def can_be_hidden(controller: Controller, number: int) -> None:
    """Gives a controller an address of its own for its peers, at which something else can listen as well."""
    controller.environ["HA_ADVERTISE_HOST"] = f"127.0.0.{10 + number}"
    controller.environ["HA_PEER_PORT"] = str(free_port())
    controller.environ["GUNICORN_CMD_ARGS"] += " --reuse-port"


def hidden(controller: Controller) -> socket.socket:
    """Accepts its peers' requests and never answers; it precedes a listener on all addresses (socket(7))."""
    host, port = controller.environ["HA_ADVERTISE_HOST"], int(controller.environ["HA_PEER_PORT"])
    return socket.create_server((host, port), reuse_port=True, backlog=1000)
