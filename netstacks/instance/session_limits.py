"""How many sessions a user and a device may have, and how many terminals of a user are opened at once."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from cachetools import TTLCache

from netstacks import greenlets
from netstacks.errors import LimitReached
from netstacks.instance.targets import Target
from netstacks.store import audit, quotas
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Transaction
from netstacks.terminal.dialogue import Dialogue

log = structlog.get_logger()

# A client that tries again and again writes one line and one audit row in this time.
_TELL_SECS = 60.0
_TOLD = 1000
_LOOK_SECS = 0.5


class SessionLimits:
    """A limit of 0 is none. Sessions that are taken over are there already: they are counted, and never refused."""

    def __init__(self, deferred_writes: DeferredWrites, *, of_user: int, of_device: int, openings_of_user: int) -> None:
        self._deferred_writes = deferred_writes
        self._of_user = of_user
        self._of_device = of_device
        self._openings_of_user = openings_of_user
        self._opening: Counter[UUID] = Counter()
        self._gates: WeakValueDictionary[UUID, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._creating: WeakValueDictionary[str, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._told: TTLCache[tuple[UUID | None, str], bool] = TTLCache(_TOLD, _TELL_SECS)

    def check(self, tx: Transaction, actor: Actor, target: Target) -> None:
        """Raises LimitReached before a device is logged in to in vain. What is being opened here counts, too."""
        assert actor.id is not None
        self._check_user(tx, actor, self._opening[actor.id])
        self._check_device(tx, actor, target)

    def take(self, tx: Transaction, actor: Actor, target: Target) -> None:
        """To be called in the transaction that creates the session. Raises LimitReached.

        Exact, whatever is created at the same moment by whatever instance: the others wait for this transaction.
        """
        assert actor.id is not None
        if self._of_user:
            quotas.hold_user(tx, actor.id)
            self._check_user(tx, actor, 0)
        if self._limits_device(target):
            quotas.hold_address(tx, target.host, target.port)
            self._check_device(tx, actor, target)

    @contextlib.contextmanager
    def creating(self, actor: Actor, target: Target) -> Iterator[None]:
        """Around the transaction of `take`: of those that wait for each other in PostgreSQL, one has a connection."""
        with contextlib.ExitStack() as gates:
            if self._of_user:
                gates.enter_context(self._gate_of(str(actor.id)))
            if self._limits_device(target):
                gates.enter_context(self._gate_of(f"{target.host} {target.port}"))
            yield

    def _gate_of(self, key: str) -> greenlets.BoundedSemaphore:
        return self._creating.setdefault(key, greenlets.BoundedSemaphore(1))

    @contextlib.contextmanager
    def place(self, actor: Actor, dialogue: Dialogue) -> Iterator[None]:
        """The block logs in to a device. When as many do for this user as may, it waits for one of them.

        Raises OpeningAbandoned when the user gives up.
        """
        assert actor.id is not None
        gate = self._gates.get(actor.id)
        if gate is None:
            gate = self._gates[actor.id] = greenlets.BoundedSemaphore(self._openings_of_user)
        self._opening[actor.id] += 1
        try:
            self._wait(gate, dialogue)
            try:
                yield
            finally:
                gate.release()
        finally:
            self._opening[actor.id] -= 1
            if not self._opening[actor.id]:
                del self._opening[actor.id]

    def _wait(self, gate: greenlets.BoundedSemaphore, dialogue: Dialogue) -> None:
        began_at = time.monotonic()
        while not gate.acquire(timeout=_LOOK_SECS):
            dialogue.check()
            what = f"{self._openings_of_user} other terminals of yours, which are being opened"
            dialogue.wait(what, time.monotonic() - began_at)

    def _check_user(self, tx: Transaction, actor: Actor, opening: int) -> None:
        assert actor.id is not None
        if not self._of_user or quotas.sessions_of_user(tx, actor.id) + opening < self._of_user:
            return
        self._refuse(
            actor,
            f"user:{actor.id}",
            f"you have {self._of_user} sessions, the most that one user may have: end one of them on the page Sessions,"
            " or ask an administrator to raise USER_SESSIONS_MAX",
        )

    def _check_device(self, tx: Transaction, actor: Actor, target: Target) -> None:
        if not self._limits_device(target) or quotas.sessions_at(tx, target.host, target.port) < self._of_device:
            return
        self._refuse(
            actor,
            f"device:{target.device_id}" if target.device_id else f"address:{target.host}:{target.port}",
            f"{target.name} has {self._of_device} sessions, the most that one device may have: wait until one of them"
            " ends, or ask an administrator to raise DEVICE_SESSIONS_MAX",
        )

    def _limits_device(self, target: Target) -> bool:
        """A device whose entry says how many lines it has has room made by that number (`Lines`)."""
        return bool(self._of_device) and target.lines is None

    def _refuse(self, actor: Actor, resource: str, text: str) -> NoReturn:
        if (actor.id, resource) not in self._told:
            self._told[actor.id, resource] = True
            log.warning("session.limit_reached", username=actor.name, resource=resource)
            self._deferred_writes.put(audit.append, actor, "session.limit_reached", resource, reason=text)
        raise LimitReached(text)
