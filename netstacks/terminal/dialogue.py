"""The dialogue with the user during the log-in to a device: banners, questions and progress in the user's terminal."""

import time
from collections.abc import Callable
from typing import Protocol

from netstacks import greenlets
from netstacks.errors import NetstacksError, OpeningAbandoned
from netstacks.terminal.line_editor import LineEditor, Outcome
from netstacks.terminal.plain_text import plain

# A wait is shown when it has taken this long, and then once a second.
_SHOW_AFTER_SECS = 2.0
_CHECK_SECS = 0.5
# A question without a client is dropped after this long: devices themselves wait for a minute or two.
_UNATTENDED_SECS = 60.0
# More of a device's texts is not kept.
_WORDS_BYTES = 64 * 1024
_CTRL_C = b"\x03"
_ERASE_LINE = b"\r\x1b[K"


class Listener(Protocol):
    """The terminal of a client without a session yet."""

    def show(self, data: bytes) -> None:
        """Shows text that is not part of a session."""

    def expect_keys(self) -> None:
        """A question is open: the client must send its keys from now on."""


class Dialogue:
    """The texts of one log-in, for any number of clients of one user; any of them may answer a question.

    A client that joins later sees the same texts. The device's own texts are in `words`.
    """

    def __init__(self, is_abandoned: Callable[[], bool] = lambda: False) -> None:
        self._is_abandoned = is_abandoned
        self._listeners: list[Listener] = []
        self._unattended_since = time.monotonic()
        # Everything shown so far, but for the progress line and an open question: for clients that join later.
        self._shown = bytearray()
        self._words = bytearray()
        self._words_shown = 0
        self._progress = b""
        # Set while a question is open.
        self._editor: LineEditor | None = None
        self._answered = greenlets.Event()
        self._cancelled = False
        self._stopped_by: NetstacksError | None = None

    @property
    def words(self) -> bytes:
        """The device's texts so far: banners, instructions, questions."""
        return bytes(self._words)

    @property
    def words_shown(self) -> int:
        """How many bytes of `words` the clients have been shown."""
        return self._words_shown

    # The clients' side.

    def join(self, listener: Listener) -> None:
        self._listeners.append(listener)
        question = b""
        if self._editor is not None:
            listener.expect_keys()
            question = self._editor.start() + self._editor.resize(self._editor.cols)
        if self._shown or self._progress or question:
            listener.show(bytes(self._shown) + self._progress + question)

    def leave(self, listener: Listener) -> None:
        """Removes a client; does nothing for one that has left already."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._unattended_since = time.monotonic()

    def input(self, data: bytes) -> None:
        """Takes keys. Without an open question only Ctrl-C counts: it cancels the opening."""
        if self._editor is None or self._answered.is_set():
            self._cancelled = self._cancelled or _CTRL_C in data
            return
        self._show(self._editor.feed(data))
        if self._editor.outcome is not None:
            self._answered.set()

    # The device's side.

    @property
    def is_given_up(self) -> bool:
        """Whether the clients have left, the user has pressed Ctrl-C, or the opening was stopped."""
        return self._stopped_by is not None or self._cancelled or self._is_abandoned()

    def stop(self, error: NetstacksError) -> None:
        """Makes the opening end soon, with this error. Returns at once."""
        self._stopped_by = error

    def check_stopped(self) -> None:
        """Raises the error of `stop`, if it was called."""
        if self._stopped_by is not None:
            raise self._stopped_by

    def check(self) -> None:
        """Raises the error of `stop`, or OpeningAbandoned when the clients have left or the user has cancelled."""
        self.check_stopped()
        if self.is_given_up:
            raise OpeningAbandoned("cancelled" if self._cancelled else "the client has left")

    def add_text(self, words: str) -> None:
        """Takes a text of the device. It is shown with the next question, or with the session's output."""
        if len(self._words) < _WORDS_BYTES:
            self._words += words.encode()[:_WORDS_BYTES]

    def show_words(self) -> None:
        """Shows the device's texts so far."""
        new = bytes(self._words[self._words_shown :])
        self._words_shown = len(self._words)
        self.progress(None)
        self._show(new)

    def say(self, text: str) -> None:
        """Shows a line of the controller's own."""
        self.progress(None)
        self._show(notice_line(text))

    def wait(self, what: str, secs: float) -> None:
        """Shows what the log-in has been waiting for, for `secs` by now, as a progress line."""
        if secs >= _SHOW_AFTER_SECS:
            self.progress(f"waiting for {what}, {secs:.0f} s (Ctrl-C cancels)")

    def progress(self, text: str | None) -> None:
        """Shows a line that the next text replaces; None removes it."""
        line = f"\r\x1b[K\x1b[33m[{plain(text)}]\x1b[0m".encode() if text else b""
        if line != self._progress:
            self._send(line or _ERASE_LINE)
            self._progress = line

    def need_person(self, why: str) -> None:
        """To be called before a user has to decide, about a host key: raises DeviceError in a log-in without a user."""

    def ask(self, prompt: str, *, echo: bool = True, check: Callable[[], None] = lambda: None) -> str:
        """Shows a question and returns the line that the user types. Raises OpeningAbandoned without an answer.

        `check` is called about twice a second, and raises when the question has become void.
        """
        self.show_words()
        for listener in self._listeners:
            listener.expect_keys()
        editor = self._editor = LineEditor(prompt, echo)
        self._answered.clear()
        self._send(editor.start())
        try:
            while not self._answered.wait(_CHECK_SECS):
                self.check()
                check()
                if not self._listeners and time.monotonic() - self._unattended_since > _UNATTENDED_SECS:
                    raise OpeningAbandoned("no client is there to answer the device's question")
        finally:
            self._editor = None
        self._keep(editor.start() + (editor.text.encode() if echo else b"") + b"\r\n")
        if editor.outcome is not Outcome.ENTERED:
            raise OpeningAbandoned("cancelled")
        return editor.text

    def _show(self, data: bytes) -> None:
        self._keep(data)
        self._send(data)

    def _keep(self, data: bytes) -> None:
        """Keeps it for clients that join later."""
        self._shown += data
        del self._shown[:-_WORDS_BYTES]

    def _send(self, data: bytes) -> None:
        if data:
            for listener in self._listeners:
                listener.show(data)


def notice_line(text: str) -> bytes:
    """A line of the controller's own, as terminals show it."""
    return f"\r\n\x1b[33m[{plain(text)}]\x1b[0m\r\n".encode()
