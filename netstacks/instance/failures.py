"""A log of repeated failures: one line for a series of failed calls, not one for each call."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from netstacks.errors import RegistryUnavailable

log = structlog.get_logger()


class FailureLog:
    """Logs the first failure of a call and its next success; those in between are counted."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        """Consecutive failures by call; a call that has succeeded since has no entry."""
        self._errors: dict[str, str] = {}
        """The last error of each such call, as a text."""

    def failed(self, call: str, error: Exception) -> None:
        if call not in self._failures:
            # The text explains an unreachable registry; any other error is a bug and needs its traceback.
            trace = None if isinstance(error, RegistryUnavailable) else error
            log.warning("registry.call_failed", call=call, error=str(error), exc_info=trace)
        self._failures[call] = self._failures.get(call, 0) + 1
        self._errors[call] = str(error)

    def error_of(self, call: str) -> str | None:
        """Why the call failed last, as a text; None when it has succeeded since."""
        return self._errors.get(call)

    def succeeded(self, call: str) -> None:
        self._errors.pop(call, None)
        if failures := self._failures.pop(call, 0):
            log.info("registry.call_succeeded", call=call, failures=failures)

    @contextmanager
    def tolerate(self, call: str) -> Iterator[None]:
        """Around a call that will be repeated: logs RegistryUnavailable instead of raising it."""
        try:
            yield
        except RegistryUnavailable as error:
            self.failed(call, error)
        else:
            self.succeeded(call)
