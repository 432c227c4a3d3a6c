"""Which core does what: the stack under test has one to itself, the client and the device share another."""

import os

SERVER_CORE, CLIENT_CORE = 0, 1


def pin(pid: int, core: int) -> None:
    """Keeps a process, its threads and what they start on one core, where there are two of them."""
    if (os.cpu_count() or 1) > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})
