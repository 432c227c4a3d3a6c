"""Redraws as clients ask for them: in threads of their own, one at a time for a session, and none without an end."""

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

# Threads that compute in Python share one interpreter with the event loop. With two, a session whose screen costs much
# leaves the other thread to the others; more of them end no sooner.
_PLACES = 2
# Then the client is shown what costs nothing. A screen of ordinary output takes a hundredth of a second.
_WAIT_SECS = 5.0
# How often a client whose screen is worked out is asked whether it is still there.
_POLL_SECS = 0.25
# Clients that come to a session together get the same screen.
_KEPT, _KEPT_SECS = 32, 10.0
# All redraws of a session within so many seconds share one budget, so that it takes a few percent of a core at most.
_ACCOUNTS, _ACCOUNT_SECS = 10_000, 10.0
_TOLD = notice_line(
    "this screen costs too much to redraw: above is the end of the output as the device sent it; Ctrl-L has most"
    " programs draw their screen again"
)

# A session and a window's columns and rows.
_Key = tuple[UUID, int, int]


class _Wait:
    """A client's wait for its turns, of _WAIT_SECS at most in all."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self.is_wanted = is_wanted
        self._ends_at = time.monotonic() + _WAIT_SECS

    @contextmanager
    def turn(self, semaphore: greenlets.BoundedSemaphore) -> Iterator[None]:
        """Raises TimeoutError, or ConnectionClosed when the client has gone meanwhile."""
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
    """What the redraws of a session have cost lately, in cells."""

    spent: int = 0


class Redraws:
    """Shares `places` threads among all sessions. A session has one of them at most, whatever its device prints."""

    def __init__(self, places: int = _PLACES) -> None:
        self._threads = greenlets.Threads(places)
        self._places = greenlets.BoundedSemaphore(places)
        self._turns: WeakValueDictionary[UUID, greenlets.BoundedSemaphore] = WeakValueDictionary()
        self._shown: TTLCache[_Key, tuple[bytes, bytes]] = TTLCache(_KEPT, _KEPT_SECS)
        self._accounts: TTLCache[UUID, _Account] = TTLCache(_ACCOUNTS, _ACCOUNT_SECS)

    def redraw(
        self, session_id: UUID, output: bytes, cols: int, rows: int, is_wanted: Callable[[], bool] = lambda: True
    ) -> bytes:
        """What `screen.redraw` returns, or what the device sent where that costs too much or has to wait too long.

        Raises ConnectionClosed when it `is_wanted` no more.
        """
        wait = _Wait(is_wanted)
        # The dictionary forgets a turn that no client has or waits for.
        turn = self._turns.setdefault(session_id, greenlets.BoundedSemaphore(1))
        key = session_id, cols, rows
        with suppress(TimeoutError), wait.turn(turn):
            former, shown = self._shown.get(key, (None, b""))
            if former != output:
                shown = self._paint(key, output, wait)
            return shown
        return _as_sent(output)

    def _paint(self, key: _Key, output: bytes, wait: _Wait) -> bytes:
        """Raises TimeoutError and ConnectionClosed."""
        account = self._accounts.setdefault(key[0], _Account())
        if account.spent >= CELLS:
            # Not kept: the account is soon another one.
            return _as_sent(output)
        with wait.turn(self._places):
            shown = self._compute(key, output, wait, account) or _as_sent(output)
        self._shown[key] = output, shown
        return shown

    def _compute(self, key: _Key, output: bytes, wait: _Wait, account: _Account) -> bytes | None:
        session_id, cols, rows = key
        budget = Budget(CELLS - account.spent)
        result = self._threads.begin(_painted, output, cols, rows, budget)
        # A cancelled thread ends at its next look at its budget. Its place is not free before.
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
            # It may have been the time.
            account.spent = CELLS
        return painted


def _painted(output: bytes, cols: int, rows: int, budget: Budget) -> bytes | None:
    """Runs in a native thread."""
    try:
        return screen.redraw(output, cols, rows, budget)
    except OverBudget:
        return None


def _as_sent(output: bytes) -> bytes:
    return screen.as_sent(output) + _TOLD


redraw = Redraws().redraw
