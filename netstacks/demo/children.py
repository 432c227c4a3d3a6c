"""Child processes that end with their parent, and say why when they end without it."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_TERM_SECS = 30
_TAIL_LINES = 15


class ChildEnded(Exception):
    """A child ended by itself; the text has the end of its log."""


class Child:
    """A process whose output goes to `NAME.log` in `log_folder`; Ctrl-C in the terminal does not reach it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._name = name
        self._log_path = log_folder / f"{name.replace(' ', '-')}.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                env={**os.environ, **(environ or {})},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises ChildEnded when the process is gone."""
        code = self._process.poll()
        if code is not None:
            tail = "\n".join(self._log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise ChildEnded(f"The {self._name} ended with exit code {code}. The end of its log:\n\n{tail}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_TERM_SECS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
