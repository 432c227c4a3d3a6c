"""Small charts of the last hour as SVG paths, with their numbers as text for screen readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# The size of the drawing in its own units: one per minute, and the height.
WIDTH = 60
HEIGHT = 32


@dataclass(frozen=True)
class Sparkline:
    """A series of one value per minute, drawn; the figures are None when there is no value at all."""

    path: str
    """The `d` of an SVG path in a box of WIDTH by HEIGHT; a missing minute is a gap."""
    now: float | None
    """The newest value."""
    least: float | None
    most: float | None


def sparkline(values: Sequence[float | None]) -> Sparkline:
    """Draws `values`, the newest last; the box reaches from 0 to the largest value."""
    return _drawn(tuple(values))


# Most series do not change between two renderings; the bound is more than a large cluster has.
@lru_cache(maxsize=4096)
def _drawn(values: tuple[float | None, ...]) -> Sparkline:
    known = [value for value in values if value is not None]
    if not known:
        return Sparkline("", None, None, None)
    top = max(*known, 0) or 1
    return Sparkline(_path(values, top), known[-1], min(known), max(known))


def _path(values: tuple[float | None, ...], top: float) -> str:
    steps, is_drawing = [], False
    # A dot alone is too small to be seen: the first sample is a short line.
    dot = "h.1" if sum(value is not None for value in values) > 1 else "h-3"
    for at, value in enumerate(values, start=WIDTH - len(values)):
        if value is not None:
            # Two units are left free above and below for the width of the line.
            height = HEIGHT - 2 - round(max(value, 0) / top * (HEIGHT - 4))
            # The dot makes a single value between two gaps visible.
            steps.append(f"{'L' if is_drawing else 'M'}{at} {height}" + ("" if is_drawing else dot))
        is_drawing = value is not None
    return "".join(steps)
