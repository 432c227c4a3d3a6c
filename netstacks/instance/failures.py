"""Failures of calls that are made again: told once, and not once each."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from netstacks.errors import RegistryUnavailable

log = structlog.get_logger()


class FailureLog:
    """Logs the first failure of a call and its next success; those in between are counted."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        """How often each call that fails has failed since it last succeeded."""

    def failed(self, call: str, error: Exception) -> None:
        if call not in self._failures:
            # The registry's own trouble is told by its text, ours needs a traceback.
            trace = None if isinstance(error, RegistryUnavailable) else error
            log.warning("registry.call_failed", call=call, error=str(error), exc_info=trace)
        self._failures[call] = self._failures.get(call, 0) + 1

    def succeeded(self, call: str) -> None:
        if failures := self._failures.pop(call, 0):
            log.info("registry.call_succeeded", call=call, failures=failures)

    @contextmanager
    def tolerate(self, call: str) -> Iterator[None]:
        """Around what will be tried again: RegistryUnavailable ends the block and goes no further."""
        try:
            yield
        except RegistryUnavailable as error:
            self.failed(call, error)
        else:
            self.succeeded(call)
