"""Measures the echo latency of one terminal, as its user feels it."""

import time

from netstacks.terminal.metrics import ECHO_LATENCY

# A key without output after this long has no echo, as in a password: the next key is measured instead.
_NEXT_KEY_SECS = 1.0
# Output after this long answers no key: it is a message of the device.
_MAX_SECS = 10.0


class EchoLatency:
    """Measures one key at a time. Times are by the monotonic clock, offsets are of the session's output log."""

    __slots__ = ("_from_offset", "_since")

    def __init__(self) -> None:
        self._since = 0.0
        """When the measured key arrived; 0 while none is measured."""
        self._from_offset = 0
        """The end of the log at that time: output before it is older than the key."""

    def typed(self, at: float, offset: int) -> None:
        """A key that arrived `at` is written to the device, whose output has reached `offset`."""
        if not self._since or at - self._since > _NEXT_KEY_SECS:
            self._since, self._from_offset = at, offset

    def sent(self, offset: int) -> None:
        """The output before `offset` is on the client's socket. Costs next to nothing while no key is measured."""
        if self._since and offset > self._from_offset:
            took_secs, self._since = time.monotonic() - self._since, 0.0
            if took_secs < _MAX_SECS:
                ECHO_LATENCY.observe(took_secs)
