"""Asking a client's terminal for its size, when the client does not tell: the far corner stops the cursor."""

import math
import re
import time

# Puts the cursor there, asks where it is, and puts it back.
_ASK = b"\x1b7\x1b[999;999H\x1b[6n\x1b8"
# No window has a single row: that form is a key, F3 with modifiers.
_ANSWER = re.compile(rb"\x1b\[(?!1;)(\d{1,4});(\d{1,4})R")
# No key ends like this, so it can wait for the rest.
_BEGUN_ANSWER = re.compile(rb"\x1b\[\d{1,4}(?:;\d{0,4})?\Z")
_ANSWER_SECS = 10.0


class SizeQuestion:
    """One question at a time; its answer is taken out of what is typed, and must not reach the device."""

    def __init__(self) -> None:
        self._asked_at = -math.inf
        self._begun_answer = b""

    def ask(self) -> bytes:
        """What the terminal is to be sent."""
        self._asked_at = time.monotonic()
        return _ASK

    def take(self, data: bytes) -> tuple[bytes, tuple[int, int] | None]:
        """What of `data` was typed, and the columns and rows when the answer was in it; its first part waits."""
        data, self._begun_answer = self._begun_answer + data, b""
        if self._asked_at < time.monotonic() - _ANSWER_SECS:
            return data, None
        answer = _ANSWER.search(data)
        if answer is not None:
            self._asked_at = -math.inf
            rows, cols = map(int, answer.groups())
            return data[: answer.start()] + data[answer.end() :], (cols, rows)
        begun = _BEGUN_ANSWER.search(data)
        if begun is not None:
            data, self._begun_answer = data[: begun.start()], begun[0]
        return data, None
