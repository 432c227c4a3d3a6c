"""Waiting in the process under test: its greenlets run while a test waits (tests/controller.py waits for others)."""

import time
from collections.abc import Callable
from typing import Any

from netstacks import greenlets


def until(condition: Callable[[], Any], what: str = "it", timeout_secs: float = 30) -> Any:
    """Waits for `condition` to be true and returns its value; the deadline is a ceiling, not a measurement."""
    give_up_at = time.monotonic() + timeout_secs
    while not (value := condition()):
        assert time.monotonic() < give_up_at, f"{what} did not happen within {timeout_secs} s"
        greenlets.sleep(0.005)
    return value
