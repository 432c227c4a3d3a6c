"""Finds SNMP communities where only the head of a section shows that a name is one (FortiOS, RouterOS)."""

import re
from collections.abc import Iterator

# The head of a section, the beginning of what follows it, and a name in it.
_SECTIONS = tuple(
    tuple(re.compile(expression, re.MULTILINE) for expression in expressions)
    for expressions in (
        (
            r"^[ \t]{0,20}config system snmp community[ \t\r]{0,20}$",
            r"^end",
            r"^[ \t]{0,20}set[ \t]{1,20}name[ \t]{1,20}(?:\"([^\"\n]{1,200})|([^\s\"]{1,200}))",
        ),
        (r"^/snmp community[ \t\r]{0,20}$", r"^/", r"[ \t]name=(?:\"([^\"\n]{1,200})|([^\s\"]{1,200}))"),
    )
)


def find_communities(text: str) -> Iterator[tuple[int, int]]:
    """Yields start and end of each community. A section without an end extends to the end of the text."""
    for head, following, name in _SECTIONS:
        done = 0
        while begin := head.search(text, done):
            end = following.search(text, begin.end())
            done = end.start() if end else len(text)
            for match in name.finditer(text, begin.end(), done):
                yield match.span(match.lastindex or 0)
