"""Named greenlets whose crashes reach the log."""

from collections.abc import Callable
from typing import Any

import gevent
import structlog
from gevent import Greenlet
from gevent.hub import Hub

log = structlog.get_logger()

current = gevent.getcurrent

# gevent would keep the stack of every `spawn`, about a kilobyte for each greenlet. The greenlet's name identifies it.
gevent.config.track_greenlet_tree = False
# `_log_crash` logs a crash as one event; gevent's own traceback on stderr would repeat it.
Hub.NOT_ERROR = (*Hub.NOT_ERROR, Exception)


class _Counted(Greenlet):  # type: ignore[misc]
    """A greenlet that `running` counts while its function runs."""

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        global _running
        _running += 1
        try:
            return function(*args, **kwargs)
        finally:
            _running -= 1


# Per process, like the greenlets.
_running = 0


def running() -> int:
    """How many greenlets of `spawn` run at the moment. gunicorn's own are not counted."""
    return _running


def spawn(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Greenlet:
    """Runs `function` in a named greenlet; a crash reaches the log with the name and the traceback."""
    greenlet = _Counted(None, function, *args, **kwargs)
    greenlet.name = name
    greenlet.link_exception(_log_crash)
    greenlet.start()
    return greenlet


def _log_crash(greenlet: Greenlet) -> None:
    log.error("greenlet.crashed", greenlet=greenlet.name, exc_info=greenlet.exc_info)
