"""How a worker's memory is looked after: the garbage collector's thresholds, and what malloc gives back."""

import ctypes
import gc

# Reference counts free almost everything: neither sessions nor requests leave cycles of ours behind
# (tests/acceptance/test_memory.py). So the collector may look seldom, and at little: 20,000 young objects take 1 ms,
# 120,000 of the middle generation 8 ms. A full collection is rare, because it stops the loop for 0.15 s per million
# objects, and a session is some 200 of them.
_THRESHOLDS = 20_000, 5, 1_000
# What glibc would otherwise learn: after the first password hash it keeps the 19 MB of each for the next one.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MALLOC_BYTES = 4 * 1024 * 1024


def settle() -> None:
    """To be called when everything is imported and built: what lives by now is never looked at again.

    The collector may have been off until then.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
    # Another C library than glibc has no such function, and learns nothing.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MALLOC_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _MALLOC_BYTES)
