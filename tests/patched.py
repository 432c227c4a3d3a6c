"""Tests in processes of their own, each patched as a worker's is: many greenlets, one of which can be killed.

They are forks of a process that has imported the tests' module, which is most of the work of a small test.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import wraps

# gevent's own `waitpid` would run a loop here, and a fork would begin in the middle of it.
_PARENT = """
from gevent import monkey
monkey.patch_all()
import importlib, json, os, sys
from gevent.os import fork_gevent
wait = monkey.get_original("os", "waitpid")
module = importlib.import_module(sys.argv[1])
for line in sys.stdin:
    child = fork_gevent()
    if not child:
        break
    print(os.waitstatus_to_exitcode(wait(child, 0)[1]), flush=True)
else:
    sys.exit()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
name, arguments = json.loads(line)
getattr(module, name).__wrapped__(**arguments)
"""
_LIMIT_SECS = 240


def patched(test: Callable[..., None]) -> Callable[..., None]:
    """The test's arguments must be plain values: no fixture reaches the other process."""

    @wraps(test)
    def elsewhere(**arguments: object) -> None:
        exit_code, printed = _forks_of(test.__module__).run(test.__name__, arguments)
        assert exit_code == "0", f"exit code {exit_code}\n{printed}"

    return elsewhere


class _Forks:
    """The process that forks for each test of a module, one after another; it ends with its input."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - it is open as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PARENT, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            bufsize=0,
            start_new_session=True,
        )

    def run(self, name: str, arguments: dict[str, object]) -> tuple[str, str]:
        """The exit code of a test, empty when its module cannot be imported, and what was printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
            is_over, _, _ = select.select([self.process.stdout], [], [], _LIMIT_SECS)
            assert is_over, f"{name} has not ended within {_LIMIT_SECS} s"
            exit_code = self.process.stdout.readline().decode().strip()
        except BaseException:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.end()
            raise
        # The offset is the other processes', too.
        self._printed.seek(0)
        printed = self._printed.read().decode(errors="replace")
        self._printed.seek(0)
        self._printed.truncate()
        return exit_code, printed

    def end(self) -> None:
        self.process.communicate()


_running: _Forks | None = None


def _forks_of(module: str) -> _Forks:
    global _running
    if _running is None or _running.module != module or _running.process.poll() is not None:
        _end()
        _running = _Forks(module)
    return _running


@atexit.register
def _end() -> None:
    if _running is not None:
        _running.end()
