"""Formats of values in JSON."""

import math
import re
from datetime import UTC, datetime
from typing import overload

from netstacks.formats import Timestamp

# The latest time that the store loads: nothing may be added to it that leaves the range of `datetime`.
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
# A text that begins with the member of a request, such as `name: is missing`: clients match the name.
_OF_MEMBER = re.compile(r"[\w.]+: ")
_FIRST_WORD = re.compile(r"[a-z]+[\s,]")


@overload
def timestamp(at: datetime) -> Timestamp: ...
@overload
def timestamp(at: datetime | None) -> Timestamp | None: ...
def timestamp(at: datetime | None) -> Timestamp | None:
    """RFC 3339 in UTC, whole seconds, ending in `Z` (docs/protocol.md, 13)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def finite(number: float | None) -> float | None:
    """The number; None for NaN and infinities, which JSON does not have."""
    return number if number is not None and math.isfinite(number) else None


def moment(secs: float) -> datetime:
    """A time in seconds since 1970 as a datetime; the nearest valid one for values out of range."""
    return datetime.fromtimestamp(0.0 if math.isnan(secs) else min(max(secs, 0.0), _LATEST.timestamp()), UTC)


def as_sentence(text: str) -> str:
    """The text of an error with a capital and a full stop. One about a member of the request stays as it is."""
    if not text or _OF_MEMBER.match(text):
        return text
    if _FIRST_WORD.match(text):
        text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…" else f"{text}."
