"""Looks at the clients of all terminals from one greenlet: to wake up that of each would cost ten times as much."""

import time
from typing import Protocol

import structlog

from netstacks import greenlets

log = structlog.get_logger()

# How often a client is looked at, and how often some of the clients are.
LOOK_SECS = 10.0
_ROUND_SECS = 0.5


class Watched(Protocol):
    def look(self) -> None:
        """Pings a silent client, and cuts off one that is gone. Never waits."""


_due_at: dict[Watched, float] = {}
"""When each client is looked at next, the first one first: all have the same interval, and come last after a look."""
_is_running = False


def watch(client: Watched) -> None:
    """Has `look` called every LOOK_SECS until `forget`."""
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
    # No yield here: a client that comes from now on starts this anew.
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
            # What one client makes of it is no other's affair.
            log.exception("keepalive.failed")
        greenlets.give_way()
