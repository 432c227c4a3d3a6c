"""A query of the terminal's size, for clients that do not send it: the cursor stops at the far corner."""

import math
import re
import time

# Saves the cursor, moves it to the last row and column, requests its position (DSR 6), and restores it.
_ASK = b"\x1b7\x1b[999;999H\x1b[6n\x1b8"
# CPR. No window has a single row: that form is the key F3 with modifiers.
_ANSWER = re.compile(rb"\x1b\[(?!1;)(\d{1,4});(\d{1,4})R")
# The first part of an answer: no key ends like this, so it can wait for the rest.
_BEGUN_ANSWER = re.compile(rb"\x1b\[\d{1,4}(?:;\d{0,4})?\Z")
_ANSWER_SECS = 10.0


class SizeQuestion:
    """One query at a time; its answer is removed from the input, and must not reach the device."""

    def __init__(self) -> None:
        self._asked_at = -math.inf
        self._begun_answer = b""

    def ask(self) -> bytes:
        """The query to send to the terminal."""
        self._asked_at = time.monotonic()
        return _ASK

    def take(self, data: bytes) -> tuple[bytes, tuple[int, int] | None]:
        """The input without an answer, and its columns and rows. An incomplete answer is kept for the next call."""
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
