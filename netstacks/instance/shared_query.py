"""Queries on demand whose result many callers share. No caller waits longer than its own limit."""

import math
import time
from collections.abc import Callable

from netstacks import greenlets
from netstacks.greenlets import Greenlet


class SharedQuery:
    """Runs `function` for callers that want a result of a certain freshness. Runs never overlap.

    A run ends by the time limits of what it calls; a caller that has run out of patience leaves it running.
    """

    def __init__(self, name: str, function: Callable[[], object]) -> None:
        self._name = name
        self._function = function
        self._run: Greenlet | None = None
        self._ended_at = -math.inf
        self._is_expired = False
        """Whether `expire` was called since the last run began."""
        self._given_up: Greenlet | None = None
        """A run that took longer than a caller's patience: the others do not wait for it again."""

    def refresh(self, fresh_secs: float, patience_secs: float) -> bool:
        """Starts a run unless the last one ended within `fresh_secs`, and waits for it.

        After `expire` only a run that began later counts. False when it has not ended by then, or has failed.
        """
        wait_until = time.monotonic() + patience_secs
        if self._is_expired and self._run is not None:
            self._wait(self._run, wait_until)
        # No yield between the check and the spawn: two runs would begin.
        is_old = self._is_expired or time.monotonic() - self._ended_at > fresh_secs
        if is_old and (self._run is None or self._run.ready()):
            self._is_expired = False
            self._run = greenlets.spawn(self._name, self._run_once)
        assert self._run is not None
        run = self._run
        self._wait(run, wait_until)
        return bool(run.successful()) and not self._is_expired

    def _wait(self, run: Greenlet, until: float) -> None:
        if run is not self._given_up:
            run.join(max(0.0, until - time.monotonic()))
        if not run.ready():
            self._given_up = run

    @property
    def has_failed(self) -> bool:
        """Whether the last run has ended with an exception, which is in the log."""
        return self._run is not None and self._run.ready() and not self._run.successful()

    def expire(self) -> None:
        """Makes the next `refresh` start a run, because something has changed."""
        self._is_expired = True

    def _run_once(self) -> None:
        try:
            self._function()
        finally:
            self._ended_at = time.monotonic()
