"""The administrator's own patterns, with a time limit, because a regular expression may backtrack without end."""

import re
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from netstacks.errors import InvalidInput
from netstacks.llm.secret_patterns import Finding
from netstacks.store.sanitization import CustomPattern

if TYPE_CHECKING:
    import regex

MAX_CHARS = 500
# The time of all patterns on one request. A usual pattern needs a tenth of it for the longest request.
_TIME_SECS = 0.5
# Compilation unrolls repeats: 20,000 characters take some milliseconds, 1,000,000 a second.
_MAX_UNROLLED = 20_000
_GROUP_REPEAT = re.compile(r"\)[^({]{0,20}\{\s*(\d+)")
_REPEAT = re.compile(r"\{\s*(\d+)")


class CustomPatterns:
    """The compiled patterns of one request. Raises InvalidInput, which names the first invalid pattern."""

    def __init__(self, patterns: Iterable[CustomPattern]) -> None:
        self._patterns = [
            (pattern, compiled(pattern.regex, f"custom_patterns.{number}.regex"))
            for number, pattern in enumerate(patterns)
        ]
        self._secs_left = _TIME_SECS

    def find(self, text: str) -> Iterator[tuple[Finding, CustomPattern]]:
        """Yields the matches of the patterns in `text`; their `rank` is below that of all other patterns.

        Raises InvalidInput, which names the pattern that exceeds the time of the request.
        """
        for rank, (pattern, expression) in enumerate(self._patterns, 2000):
            for start, end in self._matches(pattern, expression, text):
                if end > start:
                    yield Finding(start, end, pattern.name, rank), pattern

    def _matches(self, pattern: CustomPattern, expression: "regex.Pattern[str]", text: str) -> list[tuple[int, int]]:
        # CPU time of this thread: the load of other threads must not count.
        began_at = time.thread_time()
        try:
            # `concurrent` releases the GIL.
            found = expression.finditer(text, timeout=max(self._secs_left, 0.0), concurrent=True)
            return [match.span() for match in found]
        except TimeoutError:
            raise InvalidInput(
                f"the administrator's pattern {pattern.name!r} takes too long on this text, so nothing was sent; an"
                " administrator can make it simpler"
            ) from None
        finally:
            self._secs_left -= time.thread_time() - began_at


def compiled(expression: str, member: str) -> "regex.Pattern[str]":
    """The compiled expression. Raises InvalidInput, which begins with `member` and names the problem."""
    # Imported here: it costs 0.04 s, and most controllers have no such patterns.
    import regex

    if len(expression) > MAX_CHARS:
        raise InvalidInput(f"{member}: must not be longer than {MAX_CHARS} characters")
    if _unrolled_chars(expression) > _MAX_UNROLLED:
        raise InvalidInput(f"{member}: repeats groups too often, as in (x{{1000}}){{1000}}")
    try:
        pattern = regex.compile(expression, regex.MULTILINE)
        is_empty = pattern.match("", timeout=_TIME_SECS) is not None
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise InvalidInput(f"{member}: is not a regular expression: {error}") from error
    except TimeoutError:
        raise InvalidInput(f"{member}: takes too long on the empty text") from None
    if is_empty:
        raise InvalidInput(f"{member}: matches the empty text, so it would match everywhere")
    return pattern


def _unrolled_chars(expression: str) -> int:
    """An upper bound of the expression's length with its repeats unrolled."""
    groups = list(map(int, _GROUP_REPEAT.findall(expression)))
    size = len(expression) + sum(map(int, _REPEAT.findall(expression))) - sum(groups)
    for times in groups:
        size *= max(times, 1)
    return size
