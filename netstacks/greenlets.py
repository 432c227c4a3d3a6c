"""The one door to gevent: spawning, waiting, time limits, periodic work. Nothing else imports gevent.

No exception from outside may reach a pool, a driver, a lock or libssh: it leaves them in a state that nothing repairs.
So greenlets are not killed. They are told to stop, by a flag, an event or the shutdown of a socket.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import gevent
import gevent.baseserver
import structlog
from gevent import Greenlet, joinall, monkey, sleep
from gevent.event import AsyncResult, Event
from gevent.hub import Hub, Waiter
from gevent.lock import BoundedSemaphore
from gevent.queue import Empty, Queue
from gevent.threadpool import ThreadPool

__all__ = [
    "AsyncResult",
    "Background",
    "BoundedSemaphore",
    "Empty",
    "Event",
    "Greenlet",
    "Periodic",
    "Queue",
    "SingleFlight",
    "Threads",
    "Timer",
    "Watch",
    "accept_few_at_once",
    "current",
    "deadline",
    "give_way",
    "in_thread",
    "joinall",
    "look_up_apart",
    "shut_down",
    "sleep",
    "sleep_in_thread",
    "spawn",
    "start_thread",
    "this_thread",
]

log = structlog.get_logger()

# libev's names for what a watcher waits for.
_READ, _WRITE = 1, 2
# A silent name server holds one for up to 30 s.
_LOOKUP_THREADS = 20
# How long the loop may stand still for work that can be interrupted. The longest that counts: a wall clock that is set
# looks like such work.
_TURN_SECS = 0.002
# Of a crowd that connects, so many are accepted before others have their turn at the loop; gevent takes a hundred.
_ACCEPTED_AT_ONCE = 32
_LONGEST_TURN_SECS = 0.05

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


def accept_few_at_once() -> None:
    """Keeps a crowd that connects from holding the loop; to be called before gunicorn makes its servers."""
    gevent.baseserver.BaseServer.max_accept = _ACCEPTED_AT_ONCE


def start_thread(function: Callable[[], Any]) -> None:
    """Runs `function` in a native thread of its own, which must not touch gevent and does not hold up the exit."""
    monkey.get_original("_thread", "start_new_thread")(function, ())


def this_thread() -> int:
    """The native thread's own number, the same for all of its greenlets."""
    number: int = monkey.get_original("_thread", "get_ident")()
    return number


def sleep_in_thread(seconds: float) -> None:
    """Sleeps in a native thread. In the loop's, it would stop all greenlets."""
    monkey.get_original("time", "sleep")(seconds)


class _Turns:
    """Shares half of the loop's time among the greenlets that work long, one after the other."""

    def __init__(self) -> None:
        self._free_at = 0.0
        """When the turns that have been promised are over, by the monotonic clock."""

    def give_way(self) -> None:
        """To be called between two steps of long work: rests when the loop has stood still for too long.

        A greenlet rests for as long as it has worked, and longer when others that work so have their turns before it.
        """
        worked_secs = min(abs(time.time() - gevent.get_hub().loop.now()), _LONGEST_TURN_SECS)
        if worked_secs > _TURN_SECS:
            now = time.monotonic()
            begins_at = max(now, self._free_at) + worked_secs
            self._free_at = begins_at + worked_secs
            sleep(begins_at - now)


give_way = _Turns().give_way


class Threads:
    """Native threads apart from those of `in_thread`, for calls that may hang: the others stay free."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool: ThreadPool | None = None

    def begin(self, function: Callable[..., Any], *args: Any) -> AsyncResult:
        """Begins a call, which must not touch gevent, and does not wait for it; at most `size` may run at once."""
        # Not before the first call: the pool belongs to the hub of the process that calls.
        if self._pool is None:
            self._pool = ThreadPool(self._size)
        return self._pool.spawn(function, *args)


def look_up_apart() -> None:
    """Has host names looked up in threads of their own: silent name servers then hold up nothing of `in_thread`."""
    gevent.get_hub().resolver.pool = ThreadPool(_LOOKUP_THREADS)


def shut_down(descriptor: int) -> None:
    """Ends every read and write of a connection, whichever greenlet waits in one; its owner then closes it."""
    # Through a copy: a socket's own method would raise an error in the greenlet that reads or writes.
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


class deadline:  # noqa: N801 - used as a function, a class because it stands in every socket read
    """A context manager that raises `error` inside its block when that has not ended after `seconds`.

    For waits on a socket of our own, and nothing else: see the head of this module.
    """

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


class Timer:
    """Calls `function` once when its block has not ended after `seconds`. The hub calls it, so it must not wait."""

    __slots__ = ("_function", "_timer")

    def __init__(self, seconds: float, function: Callable[[], Any]) -> None:
        self._function = function
        self._timer = gevent.get_hub().loop.timer(seconds)

    def __enter__(self) -> None:
        # By the time of now, not of the loop's last turn: after a stall the timer would fire at once.
        self._timer.start(self._function, update=True)

    def __exit__(self, *_: object) -> None:
        self._timer.stop()
        self._timer.close()


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

    def wait(self, *, read: bool = False, write: bool = False, timeout_secs: float | None = None) -> bool:
        """Waits until the descriptor can be read or written as asked, or `wake` is called; it may have been before.

        False when nothing of that happened within `timeout_secs`.
        """
        if self._woken or self._closed:
            self._woken = False
            return True
        waiter = self._waiter = Waiter(self._hub)
        watcher = self._watcher(_READ * read | _WRITE * write)
        watcher.start(waiter.switch, True)
        timer = self._hub.loop.timer(timeout_secs) if timeout_secs is not None else None
        if timer is not None:
            timer.start(waiter.switch, False, update=True)
        try:
            happened = bool(waiter.get())
            # The timer may have fired in the same turn of the loop as a call of `wake`.
            woken, self._woken = self._woken, False
            return happened or woken
        finally:
            self._waiter = None
            if timer is not None:
                timer.stop()
                timer.close()
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
        """Ends the wait that is under way, or else the next one."""
        self._woken = True
        if self._waiter is not None:
            self._hub.loop.run_callback(self._waiter.switch, True)
        elif self._callback is not None:
            self._hub.loop.run_callback(self._call_back)

    def close(self) -> None:
        """Ends every wait, now and later; to be called before the descriptor is closed."""
        self._closed = True
        self.wake()
        for watcher in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()


class Background:
    """A greenlet that is to run for as long as the process does. That it has died is a fact of health."""

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
        """Waits for its end, which something else has asked for; False when that takes longer than `timeout_secs`."""
        if self._greenlet is None or self._greenlet is current():
            return True
        self._greenlet.join(timeout_secs)
        return bool(self._greenlet.ready())


class Periodic(Background):
    """Calls `function` every `interval_secs`, from its own greenlet, until stopped.

    One failed round is logged and the next one is tried. A round that overran the interval is logged as such, and
    the next starts at once.
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
        """Ends after the current round; returns when it has ended."""
        self._stopping = True
        self._wake.set()
        self.join()

    def _run(self) -> None:
        while not self._stopping:
            started_at = time.monotonic()
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

    Runs follow each other and never overlap. They have a greenlet of their own, so that no caller's end cuts one short.
    An exception reaches every caller of its run.
    """

    def __init__(self, name: str, function: Callable[[], Any]) -> None:
        self._name = name
        self._function = function
        self._next: AsyncResult | None = None
        """The run that has been asked for and has not begun. A call that comes now shares it."""
        self._is_running = False

    def __call__(self) -> Any:
        return self.begin().get()

    def begin(self) -> AsyncResult:
        """Asks for a run, and does not wait for it."""
        # No yield here: two runs would begin.
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
