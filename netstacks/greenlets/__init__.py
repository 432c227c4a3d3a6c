"""The only package that imports gevent: spawning, waiting, time limits, threads, background work.

No exception from outside may reach a pool, a driver, a lock or libssh: it leaves them in a state that nothing repairs
(docs/design-notes.md, 5). So greenlets are never killed. A flag, an event or the shutdown of a socket stops them.
"""

from gevent import Greenlet, joinall, sleep
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore
from gevent.queue import Empty, Queue

from netstacks.greenlets.background import Background, Periodic, SingleFlight
from netstacks.greenlets.fairness import give_way, limit_accepts
from netstacks.greenlets.spawning import current, running, spawn
from netstacks.greenlets.threads import (
    Threads,
    import_in_thread,
    in_thread,
    sleep_in_thread,
    start_thread,
    thread_id,
    use_lookup_threads,
)
from netstacks.greenlets.timeouts import Timer, deadline
from netstacks.greenlets.watch import Watch, is_readable, shut_down

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
    "current",
    "deadline",
    "give_way",
    "import_in_thread",
    "in_thread",
    "is_readable",
    "joinall",
    "limit_accepts",
    "running",
    "shut_down",
    "sleep",
    "sleep_in_thread",
    "spawn",
    "start_thread",
    "thread_id",
    "use_lookup_threads",
]
