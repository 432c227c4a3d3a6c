"""A transcript: a device's output as lines of plain text, as a terminal would show them, without control characters."""

import codecs
import re
from collections.abc import Callable

from netstacks.terminal.screen import complete_prefix

# A longer line is split.
_MAX_LINE = 16 * 1024
_MAX_COLUMNS = 1000
# ECMA-48: text, a control sequence, a control string, an escape sequence, a control character.
_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f-\x9f]+)"
    r"|\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b[]PX^_][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\|)"
    r"|\x1b[ -/]*(?P<escape>[0-~])"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
)


class Transcript:
    """Takes UTF-8 in pieces of any size. `line` is the unfinished last line, `lines` are those before it.

    Lines are kept from the beginning up to `most_chars` in total: `is_cut` says that later ones were left out. Text
    that overwrites its line, such as the erasure of a pager's prompt, overwrites it here too. A full-screen program is
    not interpreted: its rows follow one another as it draws them.
    """

    def __init__(self, most_chars: int) -> None:
        self.lines: list[str] = []
        self.line = ""
        self.count = 0
        """How many lines have ended, including those left out."""
        self.is_cut = False
        self._room = most_chars
        self._column = 0
        self._waiting = b""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._controls: dict[str, Callable[[], None]] = {
            "\n": self._end_line,
            "\x85": self._end_line,
            "\r": lambda: self._move_to(0),
            "\b": lambda: self._move_to(self._column - 1),
        }

    def feed(self, data: bytes) -> None:
        """Takes the next piece. An incomplete sequence or character is kept for the next call."""
        data = self._waiting + data
        whole = complete_prefix(data)
        self._waiting = data[whole:]
        for token in _TOKEN.finditer(self._decode(data[:whole])):
            if token["text"]:
                self._put(token["text"])
            elif token["final"]:
                self._apply(token["final"], token["parameters"])
            elif token["escape"] == "E":
                self._end_line()
            elif (act := self._controls.get(token["control"] or "")) is not None:
                act()

    def _put(self, text: str) -> None:
        line, column = self.line, self._column
        if column == len(line):
            self.line = line + text
        else:
            self.line = line[:column].ljust(column) + text + line[column + len(text) :]
        self._column += len(text)
        if len(self.line) > _MAX_LINE:
            self._end_line()

    def _end_line(self) -> None:
        line = self.line.rstrip()
        self.line, self._column = "", 0
        self.count += 1
        if self.is_cut:
            return
        if len(line) < self._room:
            self._room -= len(line) + 1
            self.lines.append(line)
        else:
            self.is_cut = True
            self.lines.append(line[: self._room])

    def _move_to(self, column: int) -> None:
        self._column = min(max(0, column), _MAX_COLUMNS)

    def _apply(self, final: str, parameters: str) -> None:
        # Five digits suffice, and a device may send any number of them.
        numbers = [int(each[:5]) if each.isascii() and each.isdecimal() else 0 for each in parameters.split(";")]
        first, count = numbers[0], max(1, numbers[0])
        line, column = self.line, self._column
        match final:
            case "K" | "J" if first == 0:
                self.line = line[:column]
            case "K" | "J" if first == 2:
                self.line = ""
            case "K":
                self.line = " " * min(column + 1, len(line)) + line[column + 1 :]
            case "P":
                self.line = line[:column] + line[column + count :]
            case "X":
                self.line = line[:column].ljust(column) + " " * min(count, len(line) - column) + line[column + count :]
            case "@" if column < len(line):
                self.line = (line[:column] + " " * min(count, _MAX_COLUMNS) + line[column:])[:_MAX_LINE]
            case "C":
                self._move_to(column + count)
            case "D":
                self._move_to(column - count)
            case "G":
                self._move_to(first - 1)
            case "H" | "f":
                self._move_to(numbers[1] - 1 if len(numbers) > 1 else 0)
