"""Time limits: an exception inside a block, or a callback from the hub."""

from collections.abc import Callable
from typing import Any

import gevent


class deadline:  # noqa: N801 - used like a function; a class is faster, and every socket read has one
    """A context manager that raises `error` inside its block when the block has not ended after `seconds`.

    Only for waits on a socket of our own: see the docstring of this package.
    """

    __slots__ = ("_error", "_timeout")

    def __init__(self, seconds: float, error: Exception) -> None:
        self._error = error
        self._timeout = gevent.Timeout(seconds)

    def __enter__(self) -> None:
        self._timeout.start()

    def __exit__(self, kind: object, raised: BaseException | None, trace: object) -> None:
        self._timeout.close()
        # Another timeout, of an outer block, passes through.
        if raised is self._timeout:
            raise self._error from None


class Timer:
    """Calls `function` once when its block has not ended after `seconds`. The hub calls it, so it must not wait."""

    __slots__ = ("_function", "_timer")

    def __init__(self, seconds: float, function: Callable[[], Any]) -> None:
        self._function = function
        self._timer = gevent.get_hub().loop.timer(seconds)

    def __enter__(self) -> None:
        # `update`: counted from now, not from the loop's last turn. After a stall the timer would fire at once.
        self._timer.start(self._function, update=True)

    def restart(self, seconds: float) -> None:
        """Sets a new limit, counted from now."""
        self.__exit__()
        self._timer = gevent.get_hub().loop.timer(seconds)
        self.__enter__()

    def __exit__(self, *_: object) -> None:
        self._timer.stop()
        self._timer.close()
