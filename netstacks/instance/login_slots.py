"""The limit of concurrent log-ins per device, cluster-wide: after a loss, many sessions log in to one device again."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from weakref import WeakValueDictionary

from netstacks import greenlets
from netstacks.errors import DeviceUnreachable, StoreUnavailable
from netstacks.hosts import shown_address
from netstacks.store import login_slots
from netstacks.store.pool import Database, Transaction
from netstacks.terminal.dialogue import Dialogue

# A log-in that waits for longer fails, and its user has to connect again.
WAIT_SECS = 30.0
# A slot is renewed during its log-in. The slot of an instance that has died stays taken for this long.
LEASE_SECS = 45.0
RENEW_SECS = 15.0
_RETRY_SECS = 0.2
_CHECK_SECS = 0.5


class LoginSlots:
    """Log-in slots of devices, shared by all instances through PostgreSQL."""

    def __init__(self, database: Database, *, wait_secs: float = WAIT_SECS) -> None:
        self._database = database
        self._wait_secs = wait_secs
        # The log-ins of one instance wait at a local gate, so that few of them poll the database.
        self._gates: WeakValueDictionary[tuple[str, int], greenlets.BoundedSemaphore] = WeakValueDictionary()

    @contextlib.contextmanager
    def slot(
        self,
        host: str,
        port: int,
        dialogue: Dialogue | None = None,
        in_transaction: Callable[[Transaction], None] = lambda tx: None,
    ) -> Iterator["LoginSlot"]:
        """Holds a slot during the block; `dialogue` shows the wait.

        `in_transaction` runs in the transaction that takes the slot.

        Raises DeviceUnreachable when no slot becomes free in time, OpeningAbandoned when the user gives up,
        StoreUnavailable.
        """
        gate = self._gates.setdefault((host, port), greenlets.BoundedSemaphore(login_slots.SLOTS))
        slot = LoginSlot(self._database, gate, (host, port), dialogue or Dialogue(), self._wait_secs)
        slot.take(in_transaction)
        try:
            yield slot
        finally:
            slot.give_back()


class LoginSlot:
    """A slot for one log-in to one device."""

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
        """Releases the slot during the block and takes one again after it: a user may take minutes to decide."""
        self.give_back()
        yield
        self.take()

    def take(self, in_transaction: Callable[[Transaction], None] = lambda tx: None) -> None:
        began_at = time.monotonic()
        while not self._gate.acquire(timeout=_CHECK_SECS):
            self._check(began_at)
        try:
            self._take_in_database(began_at, in_transaction)
        except BaseException:
            self._gate.release()
            raise

    def _check(self, began_at: float) -> None:
        waited_secs = time.monotonic() - began_at
        self._dialogue.check()
        self._dialogue.wait(f"{login_slots.SLOTS} other terminals that are logging in to this device", waited_secs)
        if waited_secs > self._wait_secs:
            raise _busy(*self._place)

    def _take_in_database(self, began_at: float, in_transaction: Callable[[Transaction], None]) -> None:
        holder = uuid.uuid4()
        while True:
            with self._database.transaction() as tx:
                is_taken = login_slots.take(tx, *self._place, holder, LEASE_SECS)
                if is_taken:
                    in_transaction(tx)
            if is_taken:
                self._holder, self._renewed_at = holder, time.monotonic()
                return
            self._check(began_at)
            greenlets.sleep(_RETRY_SECS)

    def renew(self) -> None:
        """Renews the lease when it is due; call it every few seconds while waiting for the device."""
        if self._holder is not None and time.monotonic() - self._renewed_at > RENEW_SECS:
            self._renewed_at = time.monotonic()
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_slots.renew(tx, *self._place, self._holder, LEASE_SECS)

    def give_back(self) -> None:
        """Releases the slot; does nothing when none is held."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        try:
            # Best effort: the lease expires by itself.
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_slots.give_back(tx, *self._place, holder)
        finally:
            self._gate.release()


def _busy(host: str, port: int) -> DeviceUnreachable:
    address = shown_address(host, port)
    return DeviceUnreachable(f"{login_slots.SLOTS} other terminals are logging in to {address}: connect again")
