"""Views of a text in which secrets are searched: without a terminal's line breaks, or without JSON escapes.

They reveal a secret that is wrapped at the terminal's width, or that a tool result contains as JSON. A view maps each
of its characters to its position in the text.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

BREAK = re.compile(r"\\\r?\n[ \t]{0,20}|\r?\n")
"""A line break; MikroTik's has a backslash before it, and blanks before the continuation."""
JSON_BREAK = re.compile(r"(?:\\r)?\\n")
"""A line break in a JSON string."""

_JSON_STRING = re.compile(r'"((?:\\.|[^"\\])*+)"(\s{0,20}:)?')
_JSON_VALUE = re.compile(r'"((?:\\.|[^"\\])*+)"|[^\s"\[\]{},:]+')
_JSON_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')

# The usual minimum of columns. A narrower terminal, as on a phone, is recognised by several full lines.
_USUAL_COLUMNS = 60
_FEWEST_COLUMNS = 40
_PROMPT = re.compile(r"[\w.@()\[\]/:~-]{1,64}[#>$%](?:[\s\w]|$)|<[\w.-]{1,64}>|\[[\w.@~*-]{1,64}\]")
_WORD = re.compile(r"[\w-]+")
# A line that begins with one of these words is a command, not the continuation of the previous line.
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
    """`length` characters of a view from `start` on, which occupy `width` characters at `origin` in the text below."""

    start: int
    length: int
    origin: int
    width: int


class View:
    """A text composed of pieces of another text."""

    def __init__(self, parts: Iterable[tuple[str, int, int]], below: "View | None" = None) -> None:
        """`parts`: the view's text, its offset in the text below, and its length there."""
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
        """Maps the non-empty range from `start` to `end` (exclusive) to the original text, through all views."""
        start, end = self.below(start, end)
        return self._below.original(start, end) if self._below else (start, end)

    def below(self, start: int, end: int) -> tuple[int, int]:
        """Maps a range to the text that this view is made of."""
        first = self._pieces[bisect_right(self._starts, start) - 1]
        last = self._pieces[bisect_right(self._starts, end - 1) - 1]
        start = first.origin + (start - first.start if first.length == first.width else 0)
        end = last.origin + (end - last.start if last.length == last.width else last.width)
        return start, end

    def without_breaks(self) -> "View":
        """The same text in one line, for known secrets."""
        return self._sliced(_between(BREAK, self.text))

    def wrapped_lines(self) -> "View | None":
        """The lines that a terminal seems to have wrapped, each unwrapped, and no others; None without such lines."""
        slices = list(_wrapped(self.text))
        return self._sliced(slices) if slices else None

    def _sliced(self, slices: Iterable[tuple[int, int]]) -> "View":
        return View(((self.text[start:end], start, end - start) for start, end in slices), self)


def plain_view(text: str) -> View:
    """The unchanged text."""
    return View([(text, 0, len(text))])


def json_view(text: str) -> View | None:
    """The text without the escapes in its strings, with a line break after each value; None if it is not JSON."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return View(_parts_of_json(text))


def json_values_view(text: str) -> View:
    """The string values of a JSON text, without member names, each on lines of its own."""
    return View(_values_of_json(text))


def json_parts(text: str) -> list[tuple[int, int, bool]]:
    """The positions of the names and values of a JSON text in order: start, end, and whether it is quoted."""
    return [
        (*match.span(1), True) if match[1] is not None else (*match.span(), False)
        for match in _JSON_VALUE.finditer(text)
    ]


def unescaped_view(text: str) -> View | None:
    """The text without JSON escapes, for JSON quoted in another text; None if it has no escaped line break."""
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
    """A line without its break; `end` is the start of the next line."""

    start: int
    end: int
    text: str


def _wrapped(text: str) -> Iterator[tuple[int, int]]:
    """The slices of `text` that form the wrapped lines, each line with its last break."""
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
    """For each line the offset of its continuation in the next line, None for a complete line."""
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
    """Whether a line may continue the previous one: no command, no prompt, and not set apart by punctuation."""
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
