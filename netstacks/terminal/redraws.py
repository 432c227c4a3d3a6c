"""Screen redraws for clients: in dedicated threads, one at a time per session, within a budget."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from cachetools import TTLCache

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.terminal import screen
from netstacks.terminal.dialogue import notice_line
from netstacks.terminal.screen_budget import CELLS, Budget, OverBudget

log = structlog.get_logger()

# Threads that compute in Python share one interpreter with the event loop. With two, one expensive screen leaves the
# other thread to other sessions; more threads finish no sooner.
_THREADS = 2
# After this wait the client gets the output as sent. A screen of ordinary output takes a hundredth of a second.
_WAIT_SECS = 5.0
# How often a running redraw checks whether its client is still there.
_POLL_SECS = 0.25
# Clients that join a session at the same time share one redraw.
_KEPT, _KEPT_SECS = 32, 10.0
# All redraws of a session in this time share one budget, so that one session takes a few percent of a core at most.
_ACCOUNTS, _ACCOUNT_SECS = 10_000, 10.0
_NOTICE = notice_line(
    "this screen costs too much to redraw: above is the end of the output as the device sent it; Ctrl-L has most"
    " programs draw their screen again"
)

# A session and a window's columns and rows.
_Key = tuple[UUID, int, int]


class _Wait:
    """The wait of one client for its semaphores, at most _WAIT_SECS in total."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self.is_wanted = is_wanted
        self._ends_at = time.monotonic() + _WAIT_SECS

    @contextmanager
    def hold(self, semaphore: greenlets.BoundedSemaphore) -> Iterator[None]:
        """Holds the semaphore. Raises TimeoutError, or ConnectionClosed when the client has left meanwhile."""
        if not semaphore.acquire(timeout=max(0.0, self._ends_at - time.monotonic())):
            raise TimeoutError
        try:
            if not self.is_wanted():
                raise ConnectionClosed(None, "")
            yield
        finally:
            semaphore.release()


@dataclass
class _Account:
    """The recent cost of a session's redraws, in cells."""

    spent: int = 0


class Redraws:
    """Shares `places` threads among all sessions; each session has one of them at most."""

    def __init__(self, places: int = _THREADS) -> None:
        self._threads = greenlets.Threads(places)
        self._slots = greenlets.BoundedSemaphore(places)
        self._locks: WeakValueDictionary[UUID, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._shown: TTLCache[_Key, tuple[bytes, bytes]] = TTLCache(_KEPT, _KEPT_SECS)
        self._accounts: TTLCache[UUID, _Account] = TTLCache(_ACCOUNTS, _ACCOUNT_SECS)

    def redraw(
        self, session_id: UUID, output: bytes, cols: int, rows: int, is_wanted: Callable[[], bool] = lambda: True
    ) -> bytes:
        """The result of `screen.redraw`, or the output as sent when a redraw costs too much or waits too long.

        Raises ConnectionClosed when `is_wanted` returns false.
        """
        wait = _Wait(is_wanted)
        # The dictionary drops a semaphore that no client holds or waits for.
        lock = self._locks.setdefault(session_id, greenlets.BoundedSemaphore(1))
        key = session_id, cols, rows
        with suppress(TimeoutError), wait.hold(lock):
            former, shown = self._shown.get(key, (None, b""))
            if former != output:
                shown = self._paint(key, output, wait)
            return shown
        return _as_sent(output)

    def _paint(self, key: _Key, output: bytes, wait: _Wait) -> bytes:
        """Raises TimeoutError and ConnectionClosed."""
        account = self._accounts.setdefault(key[0], _Account())
        if account.spent >= CELLS:
            # Not cached: the account expires soon.
            return _as_sent(output)
        with wait.hold(self._slots):
            shown = self._compute(key, output, wait, account) or _as_sent(output)
        self._shown[key] = output, shown
        return shown

    def _compute(self, key: _Key, output: bytes, wait: _Wait, account: _Account) -> bytes | None:
        session_id, cols, rows = key
        budget = Budget(CELLS - account.spent)
        result = self._threads.begin(_painted, output, cols, rows, budget)
        # A cancelled thread ends at its next budget check. Its place is occupied until then.
        while not result.ready():
            result.wait(_POLL_SECS)
            if not wait.is_wanted():
                budget.cancel()
        painted: bytes | None = result.get()
        account.spent += budget.spent
        if painted is None:
            if budget.is_cancelled:
                raise ConnectionClosed(None, "")
            log.warning("redraw.too_costly", session_id=str(session_id), cols=cols, rows=rows, cells=budget.spent)
            # The thread may have run out of time with cells left: no further redraw now.
            account.spent = CELLS
        return painted


def _painted(output: bytes, cols: int, rows: int, budget: Budget) -> bytes | None:
    """Runs in a native thread."""
    try:
        return screen.redraw(output, cols, rows, budget)
    except OverBudget:
        return None


def _as_sent(output: bytes) -> bytes:
    return screen.as_sent(output) + _NOTICE


redraw = Redraws().redraw
