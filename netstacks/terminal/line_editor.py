"""A line editor for a user's terminal: keys go in, terminal output comes out. No I/O."""

import codecs
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from wcwidth import wcwidth

from netstacks.terminal.keys import EDITS, KEYS, UNFINISHED
from netstacks.terminal.plain_text import cells, cut, plain

# A longer line is an accidental paste.
MAX_LENGTH = 4096
# The narrowest part of a line that can be edited; the prompt of a narrower terminal wraps.
_MIN_ROOM = 8
# No key is longer: an unfinished one beyond this is dropped.
_MAX_KEY = 64
_WORD = re.compile(" *[^ ]*")
_CLEAR = "\x1b[H\x1b[2J"
_BELL = "\a"


class Outcome(Enum):
    """How the line has ended."""

    ENTERED = "entered"
    CANCELLED = "cancelled"
    """Ctrl-C."""
    CLOSED = "closed"
    """Ctrl-D on an empty line."""


Complete = Callable[[str], tuple[str, Sequence[str]]]
"""Completes the line up to the cursor: returns its new text, and the candidates to list when there are several."""


@dataclass
class LineEditor:
    """Edits one line in one row of the terminal: a longer line scrolls horizontally.

    With `echo` off the terminal shows no input.
    """

    prompt: str
    echo: bool = True
    history: Sequence[str] = ()
    complete: Complete | None = None
    cols: int = 80
    text: str = field(default="", init=False)
    outcome: Outcome | None = field(default=None, init=False)
    unread: bytes = field(default=b"", init=False)
    """Input after the end of the line."""
    _cursor: int = field(default=0, init=False)
    _first: int = field(default=0, init=False)
    """The index of the first character shown, of a line that is longer than its row."""
    _is_stale: bool = field(default=False, init=False)
    """Whether the terminal shows an older state of the line."""
    _recalled: int = field(default=0, init=False)
    """The position in the history, counted from its end: 0 is the draft, -1 the newest line."""
    _draft: str = field(default="", init=False)
    _pending: str = field(default="", init=False)
    """The first part of a key whose rest is in the next frame."""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace"), init=False, repr=False
    )

    def start(self) -> bytes:
        """The prompt, which the terminal is to show first."""
        return "\r\n".join(map(plain, re.split(r"\r\n|\r|\n", self.prompt))).encode()

    def resize(self, cols: int) -> bytes:
        """Takes the terminal's new width; returns the output for the terminal."""
        self.cols = cols
        return f"\r\x1b[J{self._row()}".encode()

    def feed(self, data: bytes) -> bytes:
        """Takes keys; returns the output for the terminal. After the end of the line the rest is in `unread`."""
        text = self._pending + self._decoder.decode(data)
        unfinished = UNFINISHED.search(text)
        self._pending = unfinished.group() if unfinished else ""
        text = text[: len(text) - len(self._pending)]
        if len(self._pending) > _MAX_KEY:
            self._pending = ""
        shown = []
        for match in KEYS.finditer(text):
            shown.append(self._take(match, is_last=match.end() == len(text)))
            if self.outcome is not None:
                held_back, _ = self._decoder.getstate()
                self.unread = (text[match.end() :] + self._pending).encode() + held_back
                break
        # One redraw for all keys of a frame: a paste has as many keys as bytes.
        return ("".join(shown) + self._drawn()).encode()

    def _take(self, match: re.Match[str], *, is_last: bool) -> str:
        key = match.group()
        match key:
            case "\r" | "\n":
                return self._end(Outcome.ENTERED, "\r\n")
            case "\x03":
                return self._end(Outcome.CANCELLED, "^C\r\n")
            case "\x04" if not self.text:
                return self._end(Outcome.CLOSED, "\r\n")
            case "\t":
                # The Tab key comes alone in its frame. A tab within a paste becomes a space.
                return self._complete() if is_last else self._insert(" ")
            case "\x0c":
                self._is_stale = True
                return _CLEAR
        if match.lastgroup == "text":
            return self._insert(key)
        self._edit(EDITS.get(key, ""))
        return ""

    def _end(self, outcome: Outcome, shown: str) -> str:
        self.outcome = outcome
        return self._drawn() + shown

    def _insert(self, typed: str) -> str:
        fits = typed[: MAX_LENGTH - len(self.text)]
        bell = _BELL if fits != typed else ""
        is_appended = self._cursor == len(self.text) and not self._is_stale
        self._replace(self.text[: self._cursor] + fits, self.text[self._cursor :])
        if is_appended and self.echo and cells(self.text) <= self._room():
            self._is_stale = False
            return plain(fits) + bell
        return bell

    def _edit(self, what: str) -> None:
        before, after = self.text[: self._cursor], self.text[self._cursor :]
        match what:
            case "left":
                self._move(_last_begin(before))
            case "right":
                self._move(len(before) + _first_end(after))
            case "word left":
                self._move(_word_begin(before))
            case "word right":
                self._move(len(before) + _word_end(after))
            case "home":
                self._move(0)
            case "end":
                self._move(len(self.text))
            case "backspace":
                self._replace(before[: _last_begin(before)], after)
            case "delete":
                self._replace(before, after[_first_end(after) :])
            case "erase before":
                self._replace("", after)
            case "erase after":
                self._replace(before, "")
            case "erase word":
                self._replace(before[: _word_begin(before)], after)
            case "up":
                self._recall(-1)
            case "down":
                self._recall(1)

    def _move(self, cursor: int) -> None:
        self._cursor = cursor
        self._is_stale = self.echo

    def _replace(self, before: str, after: str) -> None:
        self.text = before + after
        self._move(len(before))

    def _recall(self, step: int) -> None:
        """Moves through the history; after its newest line comes the draft."""
        if self._recalled == 0:
            self._draft = self.text
        self._recalled = min(0, max(-len(self.history), self._recalled + step))
        self._replace(self.history[self._recalled] if self._recalled else self._draft, "")

    def _complete(self) -> str:
        if self.complete is None:
            return ""
        completed, candidates = self.complete(self.text[: self._cursor])
        self._replace(completed, self.text[self._cursor :])
        return f"\r\n{'  '.join(map(plain, candidates))}\r\n" if candidates else ""

    # Drawing.

    def _drawn(self) -> str:
        """Output that updates the terminal, if it shows an older state of the line."""
        if not self._is_stale:
            return ""
        self._is_stale = False
        return self._row()

    def _row(self) -> str:
        prompt = f"\r{self._prompt_row()}"
        if not self.echo:
            return f"{prompt}\x1b[K"
        self._scroll()
        head = plain(self.text[self._first : self._cursor])
        tail = cut(plain(self.text[self._cursor :]), self._room() - cells(head))
        # The terminal saves the cursor itself (DECSC): its width of a character may differ from the one computed here.
        return f"{prompt}{head}\x1b7{tail}\x1b[K\x1b8"

    def _scroll(self) -> None:
        """Chooses the part of a long line to show, around the cursor."""
        room = self._room()
        if cells(self.text) <= room:
            self._first = 0
        elif self._cursor < self._first or cells(self.text[self._first : self._cursor]) > room:
            self._first, used = self._cursor, 0
            while self._first > 0 and used < room // 2:
                self._first -= 1
                used += max(0, wcwidth(self.text[self._first]))

    def _room(self) -> int:
        """The cells after the prompt, except the last one: terminals differ in the last column."""
        return max(_MIN_ROOM, self.cols - cells(self._prompt_row()) - 1)

    def _prompt_row(self) -> str:
        """The last row of the prompt, which precedes the line."""
        row = plain(re.split(r"[\r\n]", self.prompt)[-1])
        while cells(row) > self.cols:
            row = row[max(1, len(cut(row, self.cols))) :]
        return row


def _last_begin(text: str) -> int:
    """The index of the last character, whose combining characters follow it."""
    begin = max(0, len(text) - 1)
    while begin > 0 and wcwidth(text[begin]) == 0:
        begin -= 1
    return begin


def _first_end(text: str) -> int:
    """The index after the first character and its combining characters."""
    end = min(1, len(text))
    while end < len(text) and wcwidth(text[end]) == 0:
        end += 1
    return end


def _word_begin(text: str) -> int:
    return text.rstrip().rfind(" ") + 1


def _word_end(text: str) -> int:
    word = _WORD.match(text)
    return word.end() if word else 0
