"""The cost of processes, as the kernel reports it."""

import contextlib
import os
import time
from pathlib import Path


def cpu_secs(*pids: int) -> float:
    """User and system time of whole processes so far, their ended threads included."""
    # The kernel's id of a process's CPU clock, as clock_getcpuclockid(3) makes it.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def rss_bytes(pid: int) -> int:
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets_and_pipes() -> set[str]:
    """Those of this process, each by its number in the kernel.

    Compare sets and not their sizes: the garbage collector may close a socket of an earlier test at any time.
    """
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {each for each in found if each.startswith(("socket:", "pipe:"))}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
