"""A rendered section of HA status, which knows what a viewer who has an earlier rendering needs to be sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

_BEGIN, _END = "<tr id=", "</tr>"


@dataclass(frozen=True)
class Markup:
    """The HTML of one element with an id, and the rows of its table that have ids."""

    html: str
    rows: Sequence[str]
    frame: Sequence[str]
    """The HTML without the rows, and the ids of the rows."""

    @classmethod
    def of(cls, html: str) -> "Markup":
        # Values cannot contain a tag: templates escape them.
        head, *parts = html.split(_BEGIN)
        split = [part.partition(_END) for part in parts]
        rows = [_BEGIN + row + end for row, end, _ in split]
        return cls(html, rows, [head, *(row.partition(">")[0] + rest for row, _, rest in split)])

    def since(self, sent: "Markup | None") -> str:
        """The HTML of the elements that turn `sent` into this: the section, its changed rows, or nothing."""
        if sent is None or sent.frame != self.frame:
            return self.html
        return "\n".join(row for row, former in zip(self.rows, sent.rows, strict=True) if row != former)

    def event_since(self, sent: "Markup | None") -> str:
        """What `since` returns as a server-sent event; "" for nothing."""
        html = self.since(sent)
        return self._event if html is self.html else _event_of(html) if html else ""

    @cached_property
    def _event(self) -> str:
        # Once for all viewers: a hundred pages may be opened at once, and sections of a large cluster have a megabyte.
        return _event_of(self.html)


def _event_of(html: str) -> str:
    # A carriage return ends a line of the stream, too.
    lines = html.replace("\r", "&#13;").replace("\n", "\ndata: ")
    return f"data: {lines}\n\n"
