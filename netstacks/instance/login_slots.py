"""Waiting for one's turn: when an instance dies, the sessions it had on one device do not come back all at once."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable, StoreUnavailable
from netstacks.store import login_slots
from netstacks.store.addresses import shown_address
from netstacks.store.pool import Database, Transaction
from netstacks.terminal.dialogue import Dialogue

# Who waits for longer is told so, and comes again.
WAIT_SECS = 30.0
# Renewed while the log-in goes on; so long a turn of an instance that died holds others up.
LEASE_SECS = 45.0
RENEW_SECS = 15.0
_ASK_AGAIN_SECS = 0.2
_LOOK_SECS = 0.5


class LoginSlots:
    """Turns at logging in to devices, shared by all instances through PostgreSQL."""

    def __init__(self, database: Database, *, wait_secs: float = WAIT_SECS) -> None:
        self._database = database
        self._wait_secs = wait_secs
        # Those of one instance wait here, so that few of them ask the database again and again.
        self._gates: WeakValueDictionary[tuple[str, int], greenlets.BoundedSemaphore] = WeakValueDictionary()

    @contextlib.contextmanager
    def turn(
        self,
        host: str,
        port: int,
        dialogue: Dialogue | None = None,
        also: Callable[[Transaction], None] = lambda tx: None,
    ) -> Iterator["Turn"]:
        """The block runs in its turn, for which the user is told to wait. `also` runs in the transaction that takes it.

        Raises DeviceUnreachable when it does not come, OpeningAbandoned when the user gives up, StoreUnavailable.
        """
        gate = self._gates.setdefault((host, port), greenlets.BoundedSemaphore(login_slots.TURNS))
        turn = Turn(self._database, gate, (host, port), dialogue or Dialogue(), self._wait_secs)
        turn.take(also)
        try:
            yield turn
        finally:
            turn.give_back()


class Turn:
    """One log-in's turn at a device."""

    def __init__(
        self,
        database: Database,
        gate: greenlets.BoundedSemaphore,
        place: tuple[str, int],
        dialogue: Dialogue,
        wait_secs: float,
    ) -> None:
        self._database = database
        self._gate = gate
        self._place = place
        self._dialogue = dialogue
        self._wait_secs = wait_secs
        self._holder: uuid.UUID | None = None
        self._renewed_at = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The block runs without the turn, which is taken again after it: a person may think for minutes."""
        self.give_back()
        yield
        self.take()

    def take(self, also: Callable[[Transaction], None] = lambda tx: None) -> None:
        began_at = time.monotonic()
        while not self._gate.acquire(timeout=_LOOK_SECS):
            self._look(began_at)
        try:
            self._take_of_all(began_at, also)
        except BaseException:
            self._gate.release()
            raise

    def _look(self, began_at: float) -> None:
        waited_secs = time.monotonic() - began_at
        self._dialogue.check()
        self._dialogue.wait(f"{login_slots.TURNS} others, which are logging in to this device", waited_secs)
        if waited_secs > self._wait_secs:
            raise _busy(*self._place)

    def _take_of_all(self, began_at: float, also: Callable[[Transaction], None]) -> None:
        holder = uuid.uuid4()
        while True:
            with self._database.transaction() as tx:
                is_taken = login_slots.take(tx, *self._place, holder, LEASE_SECS)
                if is_taken:
                    also(tx)
            if is_taken:
                self._holder, self._renewed_at = holder, time.monotonic()
                return
            self._look(began_at)
            greenlets.sleep(_ASK_AGAIN_SECS)

    def renew(self) -> None:
        """To be called every now and then while the device is waited for."""
        if self._holder is not None and time.monotonic() - self._renewed_at > RENEW_SECS:
            self._renewed_at = time.monotonic()
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_slots.renew(tx, *self._place, self._holder, LEASE_SECS)

    def give_back(self) -> None:
        """Does nothing without the turn."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        try:
            # The lease ends by itself.
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_slots.give_back(tx, *self._place, holder)
        finally:
            self._gate.release()


def _busy(host: str, port: int) -> DeviceUnreachable:
    address = shown_address(host, port)
    return DeviceUnreachable(f"{login_slots.TURNS} others are logging in to {address} just now: connect again")
