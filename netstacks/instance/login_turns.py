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
    def turn(self, host: str, port: int) -> Iterator["Turn"]:
        """The block runs in its turn. Raises DeviceUnreachable when that does not come, StoreUnavailable."""
        gate = self._gates.setdefault((host, port), greenlets.BoundedSemaphore(login_turns.TURNS))
        turn = Turn(self._database, gate, host, port, self._wait_secs)
        turn.take()
        try:
            yield turn
        finally:
            turn.give_back()


class Turn:
    """One log-in's turn at a device."""

    def __init__(
        self, database: Database, gate: greenlets.BoundedSemaphore, host: str, port: int, wait_secs: float
    ) -> None:
        self._database = database
        self._gate = gate
        self._place = (host, port)
        self._wait_secs = wait_secs
        self._holder: uuid.UUID | None = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The block runs without the turn, which is taken again after it: a person may think for minutes."""
        self.give_back()
        yield
        self.take()

    def take(self) -> None:
        give_up_at = time.monotonic() + self._wait_secs
        if not self._gate.acquire(timeout=self._wait_secs):
            raise _busy(*self._place)
        try:
            self._take_of_all(give_up_at)
        except BaseException:
            self._gate.release()
            raise

    def _take_of_all(self, give_up_at: float) -> None:
        holder = uuid.uuid4()
        while True:
            with self._database.transaction() as tx:
                if login_turns.take(tx, *self._place, holder, LEASE_SECS):
                    self._holder = holder
                    return
            if time.monotonic() > give_up_at:
                raise _busy(*self._place)
            greenlets.sleep(_ASK_AGAIN_SECS)

    def give_back(self) -> None:
        """Does nothing without the turn."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        try:
            # The lease ends by itself.
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_turns.give_back(tx, *self._place, holder)
        finally:
            self._gate.release()


def _busy(host: str, port: int) -> DeviceUnreachable:
    return DeviceUnreachable(f"{login_turns.TURNS} others are logging in to {host}:{port} just now: connect again")
