"""Waiting for one's turn: when an instance dies, the sessions it had on one device do not come back all at once."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from weakref import WeakValueDictionary

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable, StoreUnavailable
from netstacks.store import login_turns
from netstacks.store.pool import Database

# Who waits for longer is told so, and comes again.
WAIT_SECS = 30.0
# Longer than a log-in lasts, unless somebody is asked about a host key: the device is not kept busy then.
LEASE_SECS = 45.0
_ASK_AGAIN_SECS = 0.2


class LoginTurns:
    """Turns at logging in to devices, shared by all instances through PostgreSQL."""

    def __init__(self, database: Database, *, wait_secs: float = WAIT_SECS) -> None:
        self._database = database
        self._wait_secs = wait_secs
        # Those of one instance wait here, so that few of them ask the database again and again.
        self._gates: WeakValueDictionary[tuple[str, int], greenlets.BoundedSemaphore] = WeakValueDictionary()

    @contextlib.contextmanager
    def turn(self, host: str, port: int) -> Iterator[None]:
        """The block runs in its turn. Raises DeviceUnreachable when that does not come, StoreUnavailable."""
        give_up_at = time.monotonic() + self._wait_secs
        gate = self._gates.setdefault((host, port), greenlets.BoundedSemaphore(login_turns.TURNS))
        if not gate.acquire(timeout=self._wait_secs):
            raise _busy(host, port)
        try:
            holder = uuid.uuid4()
            self._take(host, port, holder, give_up_at)
            try:
                yield
            finally:
                self._give_back(host, port, holder)
        finally:
            gate.release()

    def _take(self, host: str, port: int, holder: uuid.UUID, give_up_at: float) -> None:
        while True:
            with self._database.transaction() as tx:
                if login_turns.take(tx, host, port, holder, LEASE_SECS):
                    return
            if time.monotonic() > give_up_at:
                raise _busy(host, port)
            greenlets.sleep(_ASK_AGAIN_SECS)

    def _give_back(self, host: str, port: int, holder: uuid.UUID) -> None:
        # The lease ends by itself.
        with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
            login_turns.give_back(tx, host, port, holder)


def _busy(host: str, port: int) -> DeviceUnreachable:
    return DeviceUnreachable(f"{login_turns.TURNS} others are logging in to {host}:{port} just now: connect again")
