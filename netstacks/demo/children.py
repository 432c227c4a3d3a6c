"""Child processes that stop with their parent; an unexpected end is reported with the end of the log."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

_STOP_SECS = 30
_TAIL_LINES = 15


class ChildEnded(Exception):
    """A child has ended unexpectedly; the text has the end of its log."""


class Child:
    """A process that runs during a `with` block, out of reach of Ctrl-C; its output goes to `log_path`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        *,
        environ: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._name = name
        self._command = command
        self._log_path = log_path
        self._environ = environ
        self._user = user
        self._stop_signal = stop_signal

    def __enter__(self) -> Self:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                self._command,
                env=self._environ,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Kills the process and its children; returns when the process has ended."""
        self.send(signal.SIGKILL)
        self._process.wait()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Raises ChildEnded when the process has ended."""
        code = self._process.poll()
        if code is not None:
            tail = "\n".join(self._log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise ChildEnded(f"{self._name} ended with exit code {code}. The end of its log:\n\n{tail}")

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(_STOP_SECS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self.kill()
