"""Limits of sessions per user and per device, and of concurrent openings per user."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
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

# Repeated attempts of a client write one log line and one audit row within this time.
_REPORT_SECS = 60.0
_REPORTED_KEYS = 1000
_CHECK_SECS = 0.5


class SessionLimits:
    """A limit of 0 means no limit. Claimed sessions count towards the limits and are never refused.

    `of_user` returns the limit of the moment: administrators can change it.
    """

    def __init__(
        self,
        deferred_writes: DeferredWrites,
        *,
        of_user: Callable[[], int],
        of_device: int,
        openings_of_user: int,
    ) -> None:
        self._deferred_writes = deferred_writes
        self._of_user = of_user
        self._of_device = of_device
        self._openings_of_user = openings_of_user
        self._opening: Counter[UUID] = Counter()
        """Openings of each user that are under way or waiting here; no entry is zero."""
        # Weak: a gate exists as long as an opening holds it or waits for it.
        self._gates: WeakValueDictionary[UUID, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._creating: WeakValueDictionary[str, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._reported: TTLCache[tuple[UUID | None, str], bool] = TTLCache(_REPORTED_KEYS, _REPORT_SECS)

    def check(self, tx: Transaction, actor: Actor, target: Target) -> None:
        """Raises LimitReached before the log-in to a device; pending openings on this instance count as well."""
        assert actor.id is not None
        self._check_user(tx, actor, self._opening[actor.id])
        self._check_device(tx, actor, target)

    def take(self, tx: Transaction, actor: Actor, target: Target) -> None:
        """Checks the limits exactly; call it in the transaction that creates the session. Raises LimitReached.

        Locks the user and the address in PostgreSQL, so that concurrent creations on all instances wait for each other.
        """
        assert actor.id is not None
        if self._of_user():
            quotas.lock_user(tx, actor.id)
            self._check_user(tx, actor, 0)
        if self._limits_device(target):
            quotas.lock_address(tx, target.host, target.port)
            self._check_device(tx, actor, target)

    @contextlib.contextmanager
    def creating(self, actor: Actor, target: Target) -> Iterator[None]:
        """Around the transaction of `take`: of creations that wait for the same lock, only one uses a connection."""
        with contextlib.ExitStack() as gates:
            if self._of_user():
                gates.enter_context(self._gate_of(str(actor.id)))
            if self._limits_device(target):
                gates.enter_context(self._gate_of(f"{target.host} {target.port}"))
            yield

    def _gate_of(self, key: str) -> greenlets.BoundedSemaphore:
        return self._creating.setdefault(key, greenlets.BoundedSemaphore(1))

    @contextlib.contextmanager
    def place(self, actor: Actor, dialogue: Dialogue) -> Iterator[None]:
        """Around a log-in to a device: waits while the user has as many openings under way as the limit allows.

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
        while not gate.acquire(timeout=_CHECK_SECS):
            dialogue.check()
            what = f"{self._openings_of_user} other terminals of yours that are being opened"
            dialogue.wait(what, time.monotonic() - began_at)

    def _check_user(self, tx: Transaction, actor: Actor, opening: int) -> None:
        assert actor.id is not None
        limit = self._of_user()
        if not limit or quotas.sessions_of_user(tx, actor.id) + opening < limit:
            return
        self._refuse(
            actor,
            f"user:{actor.id}",
            f"you have {limit} sessions, the limit for one user: end one of them on the page Sessions,"
            " or ask an administrator to raise the limit (system settings, USER_SESSIONS_MAX)",
        )

    def _check_device(self, tx: Transaction, actor: Actor, target: Target) -> None:
        if not self._limits_device(target) or quotas.sessions_at(tx, target.host, target.port) < self._of_device:
            return
        self._refuse(
            actor,
            target.resource,
            f"{target.name} has {self._of_device} sessions, the limit for one device: wait until one of them"
            " ends, or ask an administrator to raise DEVICE_SESSIONS_MAX",
        )

    def _limits_device(self, target: Target) -> bool:
        """Whether the limit applies: a device with a known number of lines has that limit instead (`VtyLines`)."""
        return bool(self._of_device) and target.lines is None

    def _refuse(self, actor: Actor, resource: str, text: str) -> NoReturn:
        if (actor.id, resource) not in self._reported:
            self._reported[actor.id, resource] = True
            log.warning("session.limit_reached", username=actor.name, resource=resource)
            self._deferred_writes.put(audit.append, actor, "session.limit_reached", resource, reason=text)
        raise LimitReached(text)
