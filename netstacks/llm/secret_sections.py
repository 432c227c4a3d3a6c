"""Finds secrets that only the head of their section or table shows to be secrets."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_QUOTED_OR_WORD = r"(?:\"([^\"\n]{1,200})|([^\s\"]{1,200}))"
_END_OF_TABLE = r"^[ \t\r]{0,100}$|^\S{1,100}[#>]"


class _Section(NamedTuple):
    """Regular expressions: the head of a section, the beginning of what follows the section, a secret in it."""

    name: str
    head: re.Pattern[str]
    following: re.Pattern[str]
    secret: re.Pattern[str]


def _section(name: str, head: str, following: str, secret: str) -> _Section:
    return _Section(name, *(re.compile(expression, re.MULTILINE) for expression in (head, following, secret)))


_SECTIONS = (
    # FortiOS, RouterOS.
    _section(
        "snmp_community",
        r"^[ \t]{0,20}config system snmp community[ \t\r]{0,20}$",
        r"^end",
        rf"^[ \t]{{0,20}}set[ \t]{{1,20}}name[ \t]{{1,20}}{_QUOTED_OR_WORD}",
    ),
    _section("snmp_community", r"^/snmp community[ \t\r]{0,20}$", r"^/", rf"[ \t]name={_QUOTED_OR_WORD}"),
    # `show snmp community` of NX-OS, `show crypto isakmp key` of IOS.
    _section("snmp_community", r"^Community[ \t]{1,60}Group / Access", _END_OF_TABLE, r"^(?!-)(\S{1,200})"),
    _section(
        "pre_shared_key",
        r"^[^\n]{0,100}Hostname/Address[ \t]{1,60}Preshared Key[ \t\r]{0,60}$",
        _END_OF_TABLE,
        r"(?<=[ \t])(?!-)(\S{1,200})[ \t\r]{0,100}$",
    ),
)


def find_in_sections(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields start, end and name of each secret. A section without an end extends to the end of the text."""
    for section in _SECTIONS:
        done = 0
        while begin := section.head.search(text, done):
            # The line of the head is not part of the section.
            start = begin.end() + 1
            end = section.following.search(text, start)
            done = end.start() if end else len(text)
            for match in section.secret.finditer(text, start, done):
                yield *match.span(match.lastindex or 0), section.name
