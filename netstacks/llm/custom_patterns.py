"""The administrator's own patterns. They run for a limited time, because a regular expression may run for ever."""

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
# A usual pattern reads the longest request in a tenth of it.
_TIME_SECS = 0.5
# An expression is unrolled when it is compiled: 20,000 characters take some milliseconds, 1,000,000 a second.
_MOST_UNROLLED = 20_000
_GROUP_REPEAT = re.compile(r"\)[^({]{0,20}\{\s*(\d+)")
_REPEAT = re.compile(r"\{\s*(\d+)")


class CustomPatterns:
    """The patterns of one request. Raises InvalidInput naming the first that is wrong."""

    def __init__(self, patterns: Iterable[CustomPattern]) -> None:
        self._patterns = [
            (pattern, compiled(pattern.regex, f"custom_patterns.{number}.regex"))
            for number, pattern in enumerate(patterns)
        ]
        self._secs_left = _TIME_SECS

    def find(self, text: str) -> Iterator[tuple[Finding, CustomPattern]]:
        """Yields what the patterns match in `text`; `rank` is the pattern's place behind all others.

        Raises InvalidInput naming the pattern that runs when the time of the request is used up.
        """
        for rank, (pattern, expression) in enumerate(self._patterns, 2000):
            for start, end in self._matches(pattern, expression, text):
                if end > start:
                    yield Finding(start, end, pattern.name, rank), pattern

    def _matches(self, pattern: CustomPattern, expression: "regex.Pattern[str]", text: str) -> list[tuple[int, int]]:
        # The time of this thread alone: a busy loop is not the pattern's fault.
        began_at = time.thread_time()
        try:
            # `concurrent`: other threads run meanwhile.
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
    """The expression as a pattern. Raises InvalidInput, which begins with `member` and says what is wrong with it."""
    # A controller without such patterns does without the library: 0.04 s of its start.
    import regex

    if len(expression) > MAX_CHARS:
        raise InvalidInput(f"{member}: must not be longer than {MAX_CHARS} characters")
    if _unrolled_chars(expression) > _MOST_UNROLLED:
        raise InvalidInput(f"{member}: repeats groups too often, as in (x{{1000}}){{1000}}")
    try:
        pattern = regex.compile(expression, regex.MULTILINE)
        is_empty = pattern.match("", timeout=_TIME_SECS) is not None
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise InvalidInput(f"{member}: is no regular expression: {error}") from error
    except TimeoutError:
        raise InvalidInput(f"{member}: takes too long on the empty text") from None
    if is_empty:
        raise InvalidInput(f"{member}: matches the empty text, so it would match everywhere")
    return pattern


def _unrolled_chars(expression: str) -> int:
    """How long the expression could become when its repeats are written out, at most."""
    groups = list(map(int, _GROUP_REPEAT.findall(expression)))
    size = len(expression) + sum(map(int, _REPEAT.findall(expression))) - sum(groups)
    for times in groups:
        size *= max(times, 1)
    return size
