"""Fair use of the event loop: bounds on how long one greenlet, or one burst of connections, keeps it."""

import time

import gevent
import gevent.baseserver
from gevent import sleep

# How long the loop may be blocked by work that can be interrupted.
_TURN_SECS = 0.002
# The longest block that is counted: a wall clock that is set forward looks like such work.
_MAX_TURN_SECS = 0.05
# How many connections of a burst are accepted in one turn of the loop; gevent's default is 100.
_ACCEPTED_AT_ONCE = 32


def limit_accepts() -> None:
    """Keeps a burst of connections from blocking the loop; to be called before gunicorn creates its servers."""
    gevent.baseserver.BaseServer.max_accept = _ACCEPTED_AT_ONCE


class _Turns:
    """Shares half of the loop's time among the greenlets with long work, one after the other."""

    def __init__(self) -> None:
        self._free_at = 0.0
        """When the turns that are already promised are over, by the monotonic clock."""

    def give_way(self) -> None:
        """To be called between two steps of long work: sleeps when the loop has been blocked for too long.

        A greenlet sleeps for as long as it has worked, and longer when other such greenlets have turns before it.
        """
        worked_secs = min(abs(time.time() - gevent.get_hub().loop.now()), _MAX_TURN_SECS)
        if worked_secs > _TURN_SECS:
            # No yield between reading and setting `_free_at`: two greenlets would get the same turn.
            now = time.monotonic()
            begins_at = max(now, self._free_at) + worked_secs
            self._free_at = begins_at + worked_secs
            sleep(begins_at - now)


give_way = _Turns().give_way
