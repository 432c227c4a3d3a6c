"""Native threads beside the event loop, for work that computes long or may hang."""

import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent import monkey
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

# A name server that does not answer blocks a thread for up to 30 s.
_LOOKUP_THREADS = 20

Result = TypeVar("Result")

# One at a time: a module that is still being imported is already in `sys.modules`.
_importing = BoundedSemaphore(1)


def in_thread(function: Callable[..., Result], *args: Any) -> Result:
    """Runs `function` in a native thread while other greenlets continue: for computations too long for the loop."""
    result: Result = gevent.get_hub().threadpool.apply(function, args)
    return result


def import_in_thread(*names: str) -> None:
    """Imports modules in a native thread, so that the first use of a large library does not block the event loop."""
    with _importing:
        for name in names:
            if name not in sys.modules:
                in_thread(importlib.import_module, name)


def start_thread(function: Callable[[], Any]) -> None:
    """Runs `function` in a new native daemon thread, which must not use gevent."""
    monkey.get_original("_thread", "start_new_thread")(function, ())


def thread_id() -> int:
    """The identifier of the current native thread, the same for all of its greenlets."""
    number: int = monkey.get_original("_thread", "get_ident")()
    return number


def sleep_in_thread(seconds: float) -> None:
    """Sleeps in a native thread. In the thread of the event loop it would block all greenlets."""
    monkey.get_original("time", "sleep")(seconds)


class Threads:
    """A thread pool separate from that of `in_thread`, for calls that may hang: they must not use up the shared one."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool: ThreadPool | None = None

    def begin(self, function: Callable[..., Any], *args: Any) -> AsyncResult:
        """Starts a call, which must not use gevent, without waiting for its result; at most `size` run at once."""
        # Created at the first call: the pool belongs to the hub of the process that calls, and workers fork.
        if self._pool is None:
            self._pool = ThreadPool(self._size)
        return self._pool.spawn(function, *args)


def use_lookup_threads() -> None:
    """Resolves host names in a thread pool of their own, so that slow name servers do not block `in_thread`."""
    gevent.get_hub().resolver.pool = ThreadPool(_LOOKUP_THREADS)
