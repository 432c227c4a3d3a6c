"""Other ways to read a text: without the breaks of a terminal's lines, and without the escapes of JSON.

A secret that is broken at the terminal's width, or that a tool's result holds as JSON, is found in such a view. The
view knows where each of its characters stands in the text.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

BREAK = re.compile(r"\\\r?\n[ \t]{0,20}|\r?\n")
"""A line's end; MikroTik's has a backslash, and blanks before the rest."""
JSON_BREAK = re.compile(r"(?:\\r)?\\n")
"""A line's end in a string of JSON."""

_JSON_STRING = re.compile(r'"((?:\\.|[^"\\])*+)"(\s{0,20}:)?')
_JSON_VALUE = re.compile(r'"((?:\\.|[^"\\])*+)"|[^\s"\[\]{},:]+')
_JSON_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')

# Terminals have at least so many columns; narrower ones, as on a telephone, are known by several full lines.
_USUAL_COLUMNS = 60
_FEWEST_COLUMNS = 40
_PROMPT = re.compile(r"[\w.@()\[\]/:~-]{1,64}[#>$%](?:[\s\w]|$)|<[\w.-]{1,64}>|\[[\w.@~*-]{1,64}\]")
_WORD = re.compile(r"[\w-]+")
# Lines that begin with one of these are commands, and no rest of the line before.
_COMMANDS = frozenset(
    _WORD.findall(
        """
        aaa access-list acl add address alias area archive arp authentication banner bfd bgp boot bridge cdp class
        class-map clock community config configure control-plane crypto default description device-tracking diagnose
        dhcp display do domain dot1x edit enable encryption end errdisable event exit fabric feature firewall flow get
        group groups hardware header hostname igmp ike info-center interface interfaces ip ipsec ipv6 isis key lacp
        ldap line lldp load-balance local-user logging mac management mgmt monitor mpls multicast nat neighbor network
        next no ntp ntp-service object object-group ospf password peer permit deny platform policy policy-map
        policy-options port prefix-list process protocols qos queue quit radius radius-server redundancy return rmon
        route route-map route-policy router routing-options rsa sampler security service session set sflow show snmp
        snmp-agent snmp-server spanning-tree ssh standby static stp switch switchport sysname system tacacs
        tacacs-server telnet template tftp-server time track transport tunnel tunnel-group undo unset user
        user-interface username vlan voice vpn vrf vrrp vtp web wireless wlan zone
        """
    )
)


class _Piece(NamedTuple):
    """`length` characters of a view from `start` on, which stand at `origin` and take `width` characters there."""

    start: int
    length: int
    origin: int
    width: int


class View:
    """A text made of pieces of another one."""

    def __init__(self, parts: Iterable[tuple[str, int, int]], below: "View | None" = None) -> None:
        """`parts`: what the view shows, where that stands in the text below, and how many characters it takes there."""
        self._pieces: list[_Piece] = []
        shown = []
        length = 0
        for part, origin, width in parts:
            if part:
                shown.append(part)
                self._pieces.append(_Piece(length, len(part), origin, width))
                length += len(part)
        self.text = "".join(shown)
        self._starts = [piece.start for piece in self._pieces]
        self._below = below

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters from `start` to before `end`, one at least, stand in the text that was first."""
        start, end = self.below(start, end)
        return self._below.original(start, end) if self._below else (start, end)

    def below(self, start: int, end: int) -> tuple[int, int]:
        """Where they stand in the text that this view is made of."""
        first = self._pieces[bisect_right(self._starts, start) - 1]
        last = self._pieces[bisect_right(self._starts, end - 1) - 1]
        start = first.origin + (start - first.start if first.length == first.width else 0)
        end = last.origin + (end - last.start if last.length == last.width else last.width)
        return start, end

    def without_breaks(self) -> "View":
        """The same in one line, for secrets that are known."""
        return self._sliced(_between(BREAK, self.text))

    def wrapped_lines(self) -> "View | None":
        """The lines that a terminal seems to have broken, each in one, and no others; None where there are none."""
        slices = list(_wrapped(self.text))
        return self._sliced(slices) if slices else None

    def _sliced(self, slices: Iterable[tuple[int, int]]) -> "View":
        return View(((self.text[start:end], start, end - start) for start, end in slices), self)


def plain_view(text: str) -> View:
    """The text as it is."""
    return View([(text, 0, len(text))])


def json_view(text: str) -> View | None:
    """The text without the escapes in its strings, whose ends are ends of lines; None if it is no JSON."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return View(_parts_of_json(text))


def json_values_view(text: str) -> View:
    """The texts in a JSON value, without its names, each on lines of its own."""
    return View(_values_of_json(text))


def json_parts(text: str) -> list[tuple[int, int, bool]]:
    """Where the names and values of a JSON value stand, in order: start, end, and whether it is inside of quotes."""
    return [
        (*match.span(1), True) if match[1] is not None else (*match.span(), False)
        for match in _JSON_VALUE.finditer(text)
    ]


def unescaped_view(text: str) -> View | None:
    """The text without JSON's escapes, for JSON that another text quotes; None if it has no escaped end of a line."""
    return View(_unescaped(text, 0, len(text))) if "\\n" in text else None


def _parts_of_json(text: str) -> Iterator[tuple[str, int, int]]:
    done = 0
    for string in _JSON_STRING.finditer(text):
        yield text[done : string.start(1)], done, string.start(1) - done
        yield from _unescaped(text, *string.span(1))
        done = string.end(1)
        is_name = string[2] is not None
        if not is_name:
            yield "\n", done, 1
            done += 1
    yield text[done:], done, len(text) - done


def _values_of_json(text: str) -> Iterator[tuple[str, int, int]]:
    for string in _JSON_STRING.finditer(text):
        is_name = string[2] is not None
        if not is_name:
            yield "\n", string.start(), 1
            yield from _unescaped(text, *string.span(1))
            yield "\n", string.end(1), 1


def _unescaped(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    for escape in _JSON_ESCAPE.finditer(text, start, end):
        yield text[start : escape.start()], start, escape.start() - start
        yield json.loads(f'"{escape[0]}"'), escape.start(), len(escape[0])
        start = escape.end()
    yield text[start:end], start, end - start


def _between(separator: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in separator.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


class _Line(NamedTuple):
    """A line without its break, from `start` to before `end`, where the next one begins."""

    start: int
    end: int
    text: str


def _wrapped(text: str) -> Iterator[tuple[int, int]]:
    """The slices of `text` that make up the broken lines, each line with its last break."""
    lines = _lines(text)
    rests = _rests(lines)
    begins_at: int | None = None
    for line, rest_at in zip(lines, rests, strict=True):
        start = line.start if begins_at is None else begins_at
        if rest_at is not None:
            yield start, line.start + len(line.text) - line.text.endswith("\\")
        elif begins_at is not None:
            yield start, line.end
        begins_at = rest_at


def _lines(text: str) -> list[_Line]:
    lines = []
    start = 0
    for line in text.split("\n"):
        lines.append(_Line(start, min(start + len(line) + 1, len(text)), line.removesuffix("\r")))
        start += len(line) + 1
    return lines


def _rests(lines: list[_Line]) -> list[int | None]:
    """For each line where the rest of it begins in the next one, None for a line that is complete."""
    lengths = Counter(len(line.text) for line in lines)
    openings = Counter(_first_word(line.text) for line in lines)
    full = []
    for blank, paragraph in groupby(lines, lambda line: not line.text.strip()):
        widths = [len(line.text) for line in paragraph]
        widest = max(widths)
        is_terminal = widest >= _USUAL_COLUMNS or (widest >= _FEWEST_COLUMNS and lengths[widest] > 1)
        full += [not blank and is_terminal and width == widest for width in widths]
    rests: list[int | None] = []
    for (line, following), is_full in zip(pairwise(lines), full, strict=False):
        text = following.text
        if line.text.endswith("\\") and text.startswith(" "):
            rests.append(following.start + len(text) - len(text.lstrip(" ")))
        elif is_full and _may_be_rest(text, openings):
            rests.append(following.start)
        else:
            rests.append(None)
    return [*rests, None]


def _may_be_rest(text: str, openings: Counter[str]) -> bool:
    """Whether a line may be the rest of the one before: it is no command, no prompt, and nothing set apart."""
    word = _first_word(text)
    return (
        bool(text)
        and not text.startswith((" ", "\t", "!", ",", "}", "]", ")", "```", "-----"))
        and text.rstrip() != "#"
        and word.lower() not in _COMMANDS
        and (not word or openings[word] == 1)
        and not _PROMPT.match(text)
    )


def _first_word(line: str) -> str:
    word = _WORD.match(line)
    return word[0] if word else ""
