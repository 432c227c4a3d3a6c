"""Waiting for a file descriptor, and waking or ending the greenlets that wait for one."""

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent import monkey
from gevent.hub import Waiter

# libev's event flags EV_READ and EV_WRITE.
_READ, _WRITE = 1, 2


def shut_down(descriptor: int) -> None:
    """Ends every read and write of a connection, in whichever greenlet; the owner of the descriptor then closes it."""
    # Through a duplicate: the socket's own method would raise an error in the greenlet that reads or writes.
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def is_readable(descriptor: int) -> bool:
    """Whether a read of a connection would not wait. Unlike gevent's own `poll`, it does not turn the loop."""
    if descriptor < 0:
        return True
    poll = monkey.get_original("select", "poll")()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class Watch:
    """Waits for one descriptor, for one greenlet or callback at a time; other greenlets can wake it."""

    __slots__ = ("_callback", "_closed", "_descriptor", "_hub", "_waiter", "_watchers", "_woken")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hub = gevent.get_hub()
        self._watchers: dict[int, Any] = {}
        """By event flags; reused from wait to wait."""
        self._waiter: Waiter | None = None
        self._callback: Callable[[], Any] | None = None
        """At most one of `_waiter` and `_callback` is set."""
        self._woken = False
        """A call of `wake` that no wait has consumed yet."""
        self._closed = False

    def wait(self, *, read: bool = False, write: bool = False, timeout_secs: float | None = None) -> bool:
        """Waits until the descriptor is readable or writable as given, or until `wake` is called, now or before.

        Returns False when neither happened within `timeout_secs`.
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
        """Like `wait` for reading, without a greenlet: the hub calls `callback` once, and it must not wait."""
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
        """Ends the current wait, or else the next one."""
        self._woken = True
        if self._waiter is not None:
            self._hub.loop.run_callback(self._waiter.switch, True)
        elif self._callback is not None:
            self._hub.loop.run_callback(self._call_back)

    def close(self) -> None:
        """Ends every wait, now and later; to be called before the descriptor is closed."""
        # A watcher of a closed descriptor could report events of the next file that gets the same number.
        self._closed = True
        self.wake()
        for watcher in self._watchers.values():
            watcher.stop()
            watcher.close()
        self._watchers.clear()
