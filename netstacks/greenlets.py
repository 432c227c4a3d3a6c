"""The one door to gevent: spawning, waiting, deadlines, periodic work. Nothing else imports gevent."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import structlog
from gevent import Greenlet, GreenletExit, joinall, killall, sleep
from gevent.event import AsyncResult, Event
from gevent.hub import Hub, Waiter
from gevent.lock import BoundedSemaphore, RLock
from gevent.queue import Empty, Full, Queue

__all__ = [
    "AsyncResult",
    "BoundedSemaphore",
    "Empty",
    "Event",
    "Full",
    "Greenlet",
    "GreenletExit",
    "Periodic",
    "Queue",
    "RLock",
    "Watch",
    "current",
    "deadline",
    "in_thread",
    "joinall",
    "killall",
    "sleep",
    "spawn",
]

log = structlog.get_logger()

# libev's names for what a watcher waits for.
_READ, _WRITE = 1, 2

Result = TypeVar("Result")

current = gevent.getcurrent


# Where a greenlet was spawned is not kept: its name tells, and it would cost a kilobyte for each.
gevent.config.track_greenlet_tree = False
# A crash is logged once, by us, as one line; gevent's own traceback on stderr would repeat it.
Hub.NOT_ERROR = (*Hub.NOT_ERROR, Exception)


def spawn(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Greenlet:
    """Runs `function` in a named greenlet; a crash reaches the log with the name and the traceback."""
    greenlet = Greenlet(function, *args, **kwargs)
    greenlet.name = name
    greenlet.link_exception(_log_crash)
    greenlet.start()
    return greenlet


def _log_crash(greenlet: Greenlet) -> None:
    log.error("greenlet.crashed", greenlet=greenlet.name, exc_info=greenlet.exc_info)


def in_thread(function: Callable[..., Result], *args: Any) -> Result:
    """Runs `function` in a native thread while other greenlets go on: for what would compute too long in one piece."""
    result: Result = gevent.get_hub().threadpool.apply(function, args)
    return result


class deadline:  # noqa: N801 - used as a function, a class because it stands in every socket read
    """A context manager that raises `error` inside its block when that has not ended after `seconds`."""

    __slots__ = ("_error", "_timeout")

    def __init__(self, seconds: float, error: Exception) -> None:
        self._error = error
        self._timeout = gevent.Timeout(seconds)

    def __enter__(self) -> None:
        self._timeout.start()

    def __exit__(self, kind: object, raised: BaseException | None, trace: object) -> None:
        self._timeout.close()
        if raised is self._timeout:
            raise self._error from None


class Watch:
    """Waits for one descriptor, for one greenlet or callback at a time, and can be woken by others."""

    __slots__ = ("_callback", "_closed", "_descriptor", "_hub", "_waiter", "_watchers", "_woken")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hub = gevent.get_hub()
        self._watchers: dict[int, Any] = {}
        self._waiter: Waiter | None = None
        self._callback: Callable[[], Any] | None = None
        self._woken = False
        self._closed = False

    def wait(self, *, read: bool = False, write: bool = False) -> None:
        """Until the descriptor can be read or written as asked, or `wake` was called since the last wait."""
        if self._woken or self._closed:
            self._woken = False
            return
        waiter = self._waiter = Waiter(self._hub)
        watcher = self._watcher(_READ * read | _WRITE * write)
        watcher.start(waiter.switch, None)
        try:
            waiter.get()
        finally:
            self._waiter = None
            if not self._closed:
                watcher.stop()

    def call(self, callback: Callable[[], Any]) -> None:
        """Like `wait` for reading, without a greenlet: the hub calls `callback`, which must not wait, once."""
        self._callback = callback
        if self._woken or self._closed:
            self.wake()
        else:
            self._watcher(_READ).start(self._call_back)

    def _call_back(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            self._woken = False
            if not self._closed:
                self._watcher(_READ).stop()
            callback()

    def _watcher(self, events: int) -> Any:
        if events not in self._watchers:
            self._watchers[events] = self._hub.loop.io(self._descriptor, events)
        return self._watchers[events]

    def wake(self) -> None:
        if self._waiter is not None:
            self._hub.loop.run_callback(self._waiter.switch, None)
        elif self._callback is not None:
            self._hub.loop.run_callback(self._call_back)
        else:
            self._woken = True

    def close(self) -> None:
        """Wakes who waits, for good; to be called before the descriptor is closed."""
        self._closed = True
        self.wake()
        for watcher in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()


class Periodic:
    """Calls `function` every `interval_secs`, from its own greenlet, until stopped.

    One failed round is logged and the next one is tried. A round that overran the interval is logged as such, and
    the next starts at once.
    """

    def __init__(self, name: str, function: Callable[[], Any], interval_secs: float) -> None:
        self.name = name
        self._function = function
        self._interval_secs = interval_secs
        self._wake = Event()
        self._stopping = False
        self._greenlet: Greenlet | None = None

    def start(self) -> None:
        self._greenlet = spawn(self.name, self._run)

    def wake(self) -> None:
        """Starts the next round now."""
        self._wake.set()

    def stop(self) -> None:
        """Ends after the current round; returns when it has ended."""
        self._stopping = True
        self._wake.set()
        if self._greenlet is not None and self._greenlet is not current():
            self._greenlet.join()

    def _run(self) -> None:
        while not self._stopping:
            started_at = time.monotonic()
            self._wake.clear()
            try:
                self._function()
            except Exception:
                log.exception("periodic.failed", name=self.name)
            took_secs = time.monotonic() - started_at
            if took_secs > self._interval_secs:
                log.warning("periodic.overran", name=self.name, took_secs=round(took_secs, 3))
            self._wake.wait(max(0.0, self._interval_secs - took_secs))
