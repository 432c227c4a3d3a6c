"""Which keystrokes the device echoed: what it did not, a password most likely, is recorded masked."""

import re

MASK = b"*"
# Typed text that the device has not echoed by then is taken for a secret.
ECHO_WAIT_SECS = 2.0
# Shorter text may occur in any output by chance, so it counts as echoed only where the echo must stand.
_SEARCHABLE_BYTES = 4
_MAX_WAITING_BYTES = 4096
_PRINTABLE_RUN = re.compile(rb"[^\x00-\x1f\x7f]*")
_NEWLINES = b"\r\n\x00"


class EchoFilter:
    """Decides for typed bytes whether they may be recorded as they are; when in doubt they are masked.

    Control bytes are no secrets. A run of printable bytes waits until the device sends it back: at the very place
    where an echo stands, or, for a longer run, anywhere in what comes next (a pasted line follows a prompt). What is
    answered by something else, or by nothing in ECHO_WAIT_SECS, is masked.
    """

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._since = 0.0

    @property
    def deadline(self) -> float | None:
        """When the waiting bytes will be masked, by the caller's clock; None when none wait."""
        return self._since + ECHO_WAIT_SECS if self._waiting else None

    def typed(self, data: bytes, now: float) -> bytes:
        """Takes what the user typed; returns what is decided already."""
        if not self._waiting:
            self._since = now
        self._waiting += data
        decided = bytearray(self._take_controls())
        while len(self._waiting) > _MAX_WAITING_BYTES:
            decided += self._mask_run() + self._take_controls()
        return bytes(decided)

    def sent(self, output: bytes) -> bytes:
        """Takes what the device sent; returns what that decides."""
        decided = b""
        position = 0
        judged = False
        while self._waiting:
            run = self._run()
            while position < len(output) and output[position] in _NEWLINES:
                position += 1
            found = output.find(run, position) if len(run) >= _SEARCHABLE_BYTES else -1
            if found >= 0 or output.startswith(run, position):
                position = max(found, position) + len(run)
                decided += self._take(len(run))
            elif run.startswith(output[position:]):
                decided += self._take(len(output) - position)
                break
            elif judged:
                # One verdict an output: what follows may have its echo in the next one.
                break
            else:
                decided += self._mask_run()
            judged = True
            decided += self._take_controls()
        return decided

    def expired(self, now: float) -> bytes:
        """Returns what has waited too long, masked."""
        decided = b""
        if self.deadline is not None and now >= self.deadline:
            while self._waiting:
                decided += self._mask_run() + self._take_controls()
        return decided

    def _run(self) -> bytes:
        match = _PRINTABLE_RUN.match(self._waiting)
        return match.group() if match else b""

    def _take(self, count: int) -> bytes:
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken

    def _mask_run(self) -> bytes:
        return MASK * len(self._take(len(self._run())))

    def _take_controls(self) -> bytes:
        count = 0
        while count < len(self._waiting) and (self._waiting[count] < 0x20 or self._waiting[count] == 0x7F):
            count += 1
        return self._take(count)
