"""Checks all terminal clients from one greenlet: to wake a greenlet per client costs ten times as much."""

import time
from typing import Protocol

import structlog

from netstacks import greenlets

log = structlog.get_logger()

# The interval between two checks of a client, and between two runs of the greenlet, in seconds.
LOOK_SECS = 10.0
_ROUND_SECS = 0.5


class Watched(Protocol):
    def look(self) -> None:
        """Sends the client a sign of life, and aborts the connection of a dead one. Never waits."""


# One per process, like its event loop: the clients of all routes share one greenlet.
_due_at: dict[Watched, float] = {}
"""The time of each client's next check, in order: the interval is the same for all, and a check moves to the end."""
_is_running = False


def watch(client: Watched) -> None:
    """Calls `look` of the client every LOOK_SECS until `remove`."""
    global _is_running
    _due_at[client] = time.monotonic() + LOOK_SECS
    if not _is_running:
        _is_running = True
        greenlets.spawn("keepalive", _run)


def remove(client: Watched) -> None:
    _due_at.pop(client, None)


def _run() -> None:
    global _is_running
    while _due_at:
        greenlets.sleep(_ROUND_SECS)
        _look_at_due()
    # No yield between the check of `_due_at` and this: a client added meanwhile would not be checked.
    _is_running = False


def _look_at_due() -> None:
    while _due_at:
        now = time.monotonic()
        client, due_at = next(iter(_due_at.items()))
        if due_at > now:
            return
        del _due_at[client]
        _due_at[client] = now + LOOK_SECS
        try:
            client.look()
        except Exception:
            # A failure of one client must not stop the checks of the others.
            log.exception("keepalive.failed")
        greenlets.give_way()
