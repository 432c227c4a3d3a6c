"""Memory of a worker: thresholds of the garbage collector and of malloc, and the resident size."""

import ctypes
import gc
import os
from pathlib import Path

# Reference counts free almost everything: neither sessions nor requests leave cycles of ours behind
# (tests/acceptance/test_memory.py). Each object that stays is looked at twice, in a collection of 5,000 young objects
# and in one of 30,000: larger ones cost the same in total, but stop the loop for longer at a time. With 120,000 it was
# 40 to 130 ms while terminals were taken over. A full collection must be rare, because it stops the loop for 0.15 s per
# million objects; a session has about 200.
_THRESHOLDS = 5_000, 5, 4_000
# Fixed, because glibc adapts them: after the first password hash (argon2, 19 MB) it would keep that much memory.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MALLOC_BYTES = 4 * 1024 * 1024
_STATM = Path("/proc/self/statm")


def settle() -> None:
    """Excludes all present objects from collections; call it when everything is imported and built.

    Also enables the collector, which may have been off until then.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
    # Only glibc has this function, and only glibc adapts the thresholds.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MALLOC_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _MALLOC_BYTES)


def resident_bytes() -> int:
    """The resident set of this process; 0 on a system without Linux's /proc."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if _STATM.exists() else 0
