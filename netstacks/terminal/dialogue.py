"""What a user's terminal shows while a device is logged in to: its words, its questions, and what is waited for."""

import time
from collections.abc import Callable
from typing import Protocol

from netstacks import greenlets
from netstacks.errors import NetstacksError, OpeningAbandoned
from netstacks.terminal.line_editor import LineEditor, Outcome
from netstacks.terminal.plain_text import plain

# A wait is told of when it has taken so long, and then once a second.
_TELL_AFTER_SECS = 2.0
_POLL_SECS = 0.5
# A question without a client to ask is dropped after so long: devices themselves wait for a minute or two.
_LONELY_SECS = 60.0
# What is kept of a device that talks and talks.
_WORDS_BYTES = 64 * 1024
_CTRL_C = b"\x03"
_ERASE_LINE = b"\r\x1b[K"


class Listener(Protocol):
    """A client's terminal, before it has a session."""

    def show(self, data: bytes) -> None:
        """Shows text that is not part of a session."""

    def expect_keys(self) -> None:
        """A question is asked: has the client send its keys from now on."""


class Dialogue:
    """Any number of clients see it, and any of them may answer: they are one user's.

    Clients that come later are shown what the others have seen. What the device has said is in `words`.
    """

    def __init__(self, is_abandoned: Callable[[], bool] = lambda: False) -> None:
        self._is_abandoned = is_abandoned
        self._listeners: list[Listener] = []
        self._lonely_since = time.monotonic()
        self._shown = bytearray()
        self._words = bytearray()
        self._words_shown = 0
        self._progress = b""
        self._editor: LineEditor | None = None
        self._answered = greenlets.Event()
        self._cancelled = False
        self._stopped_by: NetstacksError | None = None

    @property
    def words(self) -> bytes:
        """What the device has said: banners, instructions, questions."""
        return bytes(self._words)

    @property
    def words_shown(self) -> int:
        """How much of `words` the clients have been shown."""
        return self._words_shown

    # The clients' side.

    def join(self, listener: Listener) -> None:
        self._listeners.append(listener)
        asked = b""
        if self._editor is not None:
            listener.expect_keys()
            asked = self._editor.start() + self._editor.resize(self._editor.cols)
        if self._shown or self._progress or asked:
            listener.show(bytes(self._shown) + self._progress + asked)

    def leave(self, listener: Listener) -> None:
        """Does nothing for one that has left."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._lonely_since = time.monotonic()

    def input(self, data: bytes) -> None:
        """Takes keys. Without a question nothing but Ctrl-C means anything: it gives the opening up."""
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
        """Has the opening end soon, with this error. Returns at once."""
        self._stopped_by = error

    def check_stopped(self) -> None:
        """Raises the error that the opening was stopped with, whether or not its client still waits."""
        if self._stopped_by is not None:
            raise self._stopped_by

    def check(self) -> None:
        """Raises OpeningAbandoned when the opening is given up, and the error that it was stopped with."""
        self.check_stopped()
        if self.is_given_up:
            raise OpeningAbandoned("cancelled" if self._cancelled else "the client has left")

    def hear(self, words: str) -> None:
        """The device says something. It is shown at the next question, or with the session's output."""
        if len(self._words) < _WORDS_BYTES:
            self._words += words.encode()[:_WORDS_BYTES]

    def show_words(self) -> None:
        """Shows what the device has said by now."""
        new = bytes(self._words[self._words_shown :])
        self._words_shown = len(self._words)
        self.progress(None)
        self._show(new)

    def say(self, text: str) -> None:
        """Shows a line of the controller's own."""
        self.progress(None)
        self._show(notice_line(text))

    def wait(self, what: str, secs: float) -> None:
        """Tells what has been waited for, for `secs` by now; a line that is rewritten in place."""
        if secs >= _TELL_AFTER_SECS:
            self.progress(f"waiting for {what}, {secs:.0f} s (Ctrl-C cancels)")

    def progress(self, text: str | None) -> None:
        """Shows a line that goes away again; None takes it away."""
        line = f"\r\x1b[K\x1b[33m[{plain(text)}]\x1b[0m".encode() if text else b""
        if line != self._progress:
            self._tell(line or _ERASE_LINE)
            self._progress = line

    def need_person(self, why: str) -> None:
        """To be called before a person decides elsewhere, about a host key: raises DeviceError when none is there."""

    def ask(self, prompt: str, *, echo: bool = True, check: Callable[[], None] = lambda: None) -> str:
        """The line that the user types. Raises OpeningAbandoned when that does not come.

        `check` is called about twice a second, and raises what makes the question void.
        """
        self.show_words()
        for listener in self._listeners:
            listener.expect_keys()
        editor = self._editor = LineEditor(prompt, echo)
        self._answered.clear()
        self._tell(editor.start())
        try:
            while not self._answered.wait(_POLL_SECS):
                self.check()
                check()
                if not self._listeners and time.monotonic() - self._lonely_since > _LONELY_SECS:
                    raise OpeningAbandoned("no client is there to answer the device's question")
        finally:
            self._editor = None
        self._keep(editor.start() + (editor.text.encode() if echo else b"") + b"\r\n")
        if editor.outcome is not Outcome.ENTERED:
            raise OpeningAbandoned("cancelled")
        return editor.text

    def _show(self, data: bytes) -> None:
        self._keep(data)
        self._tell(data)

    def _keep(self, data: bytes) -> None:
        """For clients that come later."""
        self._shown += data
        del self._shown[:-_WORDS_BYTES]

    def _tell(self, data: bytes) -> None:
        if data:
            for listener in self._listeners:
                listener.show(data)


def notice_line(text: str) -> bytes:
    """A line of the controller's own, as terminals show it."""
    return f"\r\n\x1b[33m[{plain(text)}]\x1b[0m\r\n".encode()
