"""Greenlets that live as long as the process, periodic work, and one run shared by many callers."""

import time
from collections.abc import Callable
from typing import Any

import structlog
from gevent import Greenlet
from gevent.event import AsyncResult, Event

from netstacks.greenlets.spawning import current, spawn

log = structlog.get_logger()


class Background:
    """A greenlet that runs for as long as the process does. Health reports its death."""

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self.name = name
        self._function = function
        self._greenlet: Greenlet | None = None

    def start(self) -> None:
        self._greenlet = spawn(self.name, self._function)

    @property
    def has_died(self) -> bool:
        """Whether an exception has ended it."""
        return self._greenlet is not None and self._greenlet.ready() and not self._greenlet.successful()

    def join(self, timeout_secs: float | None = None) -> bool:
        """Waits for the greenlet's end, which it does not request; False when that takes longer than `timeout_secs`."""
        # A greenlet that waited for itself would never end.
        if self._greenlet is None or self._greenlet is current():
            return True
        self._greenlet.join(timeout_secs)
        return bool(self._greenlet.ready())


class Periodic(Background):
    """Calls `function` every `interval_secs`, from its own greenlet, until stopped.

    A failed round is logged, and the next round runs as usual. A round that overran the interval is logged, and the
    next one starts at once.
    """

    def __init__(self, name: str, function: Callable[[], Any], interval_secs: float) -> None:
        super().__init__(name, self._run)
        self._round = function
        self._interval_secs = interval_secs
        self._wake = Event()
        self._stopping = False

    def wake(self) -> None:
        """Starts the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """Stops after the current round; returns when that has ended."""
        self._stopping = True
        self._wake.set()
        self.join()

    def _run(self) -> None:
        while not self._stopping:
            started_at = time.monotonic()
            # Before the round: a `wake` during the round starts another one.
            self._wake.clear()
            try:
                self._round()
            except Exception:
                log.exception("periodic.failed", name=self.name)
            took_secs = time.monotonic() - started_at
            if took_secs > self._interval_secs:
                log.warning("periodic.overran", name=self.name, took_secs=round(took_secs, 3))
            self._wake.wait(max(0.0, self._interval_secs - took_secs))


class SingleFlight:
    """Runs `function` for many callers at once: each gets a run that began after its call.

    Runs follow each other and never overlap. They have a greenlet of their own, so that the end of a caller does not
    interrupt a run. An exception reaches every caller of its run.
    """

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self._name = name
        self._function = function
        self._next: AsyncResult | None = None
        """The run that is requested and has not begun. A call that comes now shares it."""
        self._is_running = False
        """Whether a greenlet runs `_run`: it also takes the runs that are requested meanwhile."""

    def __call__(self) -> Any:
        return self.begin().get()

    def begin(self) -> AsyncResult:
        """Requests a run without waiting for it."""
        # No yield between the check and `_is_running = True`: two runs would begin.
        if self._next is None:
            self._next = AsyncResult()
            if not self._is_running:
                self._is_running = True
                spawn(self._name, self._run)
        return self._next

    def _run(self) -> None:
        while self._next is not None:
            # No yield between here and the start of `function`: a caller in between would get a run that began earlier.
            run, self._next = self._next, None
            try:
                run.set(self._function())
            except BaseException as error:
                run.set_exception(error)
        self._is_running = False
