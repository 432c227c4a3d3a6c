"""Tests in a process of their own that is patched as a worker's is: many greenlets, one of which can be killed."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import wraps

_CALL = """
from gevent import monkey
monkey.patch_all()
import importlib, json, sys
module, name, arguments = sys.argv[1:]
getattr(importlib.import_module(module), name).__wrapped__(**json.loads(arguments))
"""
_LIMIT_SECS = 240


def patched(test: Callable[..., None]) -> Callable[..., None]:
    """The test's arguments must be plain values: no fixture reaches the other process."""

    @wraps(test)
    def elsewhere(**arguments: object) -> None:
        words = [sys.executable, "-c", _CALL, test.__module__, test.__name__, json.dumps(arguments)]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_SECS, check=False)
        assert ended.returncode == 0, ended.stderr

    return elsewhere
