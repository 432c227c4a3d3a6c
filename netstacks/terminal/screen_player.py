"""Plays output on a screen model, without the part that has scrolled off or was covered."""

import contextlib
import re
from collections.abc import Callable
from functools import partial

from pyte import Stream

from netstacks.terminal.screen_model import RENDITION, Model, length, numbers

# A window title. One with control characters goes to pyte's parser, like all malformed or rare sequences.
_TITLE = r"\][0-9][^\x00-\x1f\x9c]*+(?:\x07|\x1b\\)"
# Graphic renditions (with character set designations, which mean nothing in UTF-8), then text that pyte draws in one
# call, then one control: each may be missing.
_TOKEN = re.compile(
    r"((?:\x1b(?:\[[0-9;]{0,99}m|\([0-9A-Z]))*+)"
    r"([^\x00\x07-\x0f\x1b\x7f\x9b\x9d]*+)"
    rf"(\r\n|[\x07-\r]|\x1b(?:\[\??[0-9;]{{0,99}}[@-ln-~]|[=>78DEHMc]|{_TITLE})|)"
)
_PIECE = re.compile(r"[^\n\x1b]*+")
# Private modes, except those that change the columns, the whole screen, the origin, or the screen in use.
_MODE = r"(?!0*(?:3|5|6|47|1047|1049)[;hl])[0-9]{1,4}"
_SWITCHED = rf"\?(?:{_MODE};)*{_MODE}[hl]"
# With the cursor on the bottom row, whose number is filled in: output that changes rows only by line feeds and
# wrapping, and copies nothing between rows. pyte raises nothing for any of it.
_PLAIN = (
    r"(?:[^\x1b\x9b\x9d]++"
    rf"|\x1b(?:\[(?:[0-9;]{{0,99}}m|[0-2]?K|[0-3]?J|[0-9]{{0,4}}[@CDGPX]|{_SWITCHED}"
    r"|%(bottom)s;[0-9]{0,4}H|1;%(bottom)sr(?=\x1b\[%(bottom)s;[0-9]{0,4}H))"
    rf"|\([0-9A-Z]|[=>]|{_TITLE}))*+"
)
# Up to the end of the alternate screen: output that changes only its cells, the cursor, the margins and these modes.
_COVERED = re.compile(
    rf"(?:[^\x1b\x9b\x9d]++|\x1b(?:\[(?:[0-9;]{{0,99}}[@-fi-km-~]|{_SWITCHED})|\([0-9A-Z]|[=>DEM]|{_TITLE}))*+"
    r"(?=\x1b\[\?(?:47|1047|1049)l)"
)
_COVERING = {"\x1b[?47h", "\x1b[?1047h", "\x1b[?1049h"}
# The cost of a token, and of a character in pyte's parser, in cells of the budget.
_TOKEN_CELLS, _CHARACTER_CELLS = 40, 20
_SWITCH = re.compile(r"\x1b\[(?:\?[0-9;]+[hl]|[0-9;]*r)")


class _Parser(Stream):
    """pyte's own parser, which works by the character."""

    def close(self) -> None:
        """Frees the parser with the last reference to it: until then, the generator holds it."""
        assert self._parser is not None
        self._parser.close()

    @property
    def is_at_rest(self) -> bool:
        """Whether the parser is between sequences."""
        return bool(self._taking_plain_text)


class Player:
    """Plays `text` on a screen: common output by tokens, rare or malformed output through pyte's parser.

    The result is the same. When pyte raises for a malformed sequence, playing continues at the next line or sequence.
    `play` raises OverBudget.
    """

    def __init__(self, screen: Model, text: str) -> None:
        self._screen = screen
        self._text = text
        self._parser = _Parser(screen)
        self._actions: dict[str, Callable[[], None]] = {"\r\n": self._next_line}
        self._plain_until = 0

    def play(self) -> None:
        position = 0
        while position < len(self._text):
            if self._parser.is_at_rest:
                position = self._play_tokens(position)
            end = _end_of_piece(self._text, position + 1)
            self._screen.charge(_CHARACTER_CELLS * (end - position))
            with contextlib.suppress(Exception):
                self._parser.feed(self._text[position:end])
            position = end

    def close(self) -> None:
        """Frees the player with the last reference to it: until then, its actions hold it."""
        self._actions.clear()
        self._parser.close()

    def _play_tokens(self, position: int) -> int:
        """Plays tokens from `position`; returns the position of the first text that is not a token."""
        text, screen = self._text, self._screen
        while True:
            token = _TOKEN.match(text, position)
            assert token is not None
            if token.end() == position:
                return position
            position = token.end()
            screen.charge(_TOKEN_CELLS)
            renditions, drawn, control = token.groups()
            if renditions:
                screen.render(renditions)
            if drawn:
                screen.draw(drawn)
            if control:
                try:
                    (self._actions.get(control) or self._action(control))()
                except Exception:
                    # pyte raises various errors for malformed output. That part is left out.
                    position = _end_of_piece(text, position)
                if control[-1] == "\n":
                    position = self._skip_scrolled(position)
                elif control in _COVERING:
                    position = self._skip_covered(position)

    def _next_line(self) -> None:
        screen = self._screen
        screen.cursor.x = 0
        if screen.margins is None and screen.cursor.y < screen.lines - 1:
            screen.cursor.y += 1
        else:
            screen.index()

    def _action(self, control: str) -> Callable[[], None]:
        """The call that pyte's parser would make."""
        name = "debug"
        arguments: list[int] = []
        keywords: dict[str, bool] = {}
        if control[0] != "\x1b":
            name = Stream.basic[control]
        elif control[1] != "[":
            name = Stream.escape.get(control[1:], name)
        else:
            name = Stream.csi.get(control[-1], name)
            arguments = numbers(control[2:-1].lstrip("?"))
            keywords = {"private": True} if control[2] == "?" else {}
        action = self._actions[control] = partial(getattr(self._screen, name), *arguments, **keywords)
        return action

    def _skip_scrolled(self, position: int) -> int:
        """Skips output that will have scrolled off the screen; returns the position to continue at.

        On the bottom row every line feed scrolls the whole screen by a row, so that nothing remains of plain output
        before its last `lines` line feeds. Playing continues after a carriage return, where the column is known, with
        the modes, margins and attributes in force there.
        """
        screen, text, bottom = self._screen, self._text, self._screen.lines - 1
        if position < self._plain_until or screen.cursor.y != bottom or screen.margins not in (None, (0, bottom)):
            return position
        plain = re.compile(_PLAIN % {"bottom": screen.lines}).match(text, position)
        assert plain is not None
        self._plain_until = cut = plain.end()
        for _ in range(screen.lines):
            cut = text.rfind("\n", position, cut)
            if cut < 0:
                return position
        cut = text.rfind("\r", position, cut) + 1
        if cut == 0:
            return position
        self._switch(position, cut)
        reset = max(text.rfind("\x1b[m", position, cut), text.rfind("\x1b[0m", position, cut), position)
        for rendition in RENDITION.finditer(text, reset, cut):
            screen.render(rendition[0])
        screen.cursor.x, screen.cursor.y = 0, bottom
        return cut

    def _skip_covered(self, position: int) -> int:
        """Skips output on the alternate screen up to its end: main screen and cursor are as before then."""
        covered = _COVERED.match(self._text, position)
        if covered is None:
            return position
        self._switch(position, covered.end())
        return covered.end()

    def _switch(self, begin: int, end: int) -> None:
        """Applies the modes and margins of skipped text."""
        # Each is absolute, so the last of several equal ones suffices.
        newest_first = dict.fromkeys(reversed(_SWITCH.findall(self._text, begin, end)))
        for switch in reversed(newest_first):
            with contextlib.suppress(Exception):
                self._action(switch)()


def _end_of_piece(text: str, position: int) -> int:
    """The position of the next line or sequence."""
    return position + length(_PIECE, text, position)
