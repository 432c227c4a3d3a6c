"""Finds the secrets that network configurations and tools print, by the patterns of `device_secrets` and
`program_secrets`.

A pattern is tried only on lines with one of its triggers, in either case: few lines of a configuration have one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from netstacks.llm.device_secrets import DEVICES
from netstacks.llm.private_data import OPTIONAL as _OPTIONAL
from netstacks.llm.program_secrets import PROGRAMS
from netstacks.llm.secret_syntax import Entry


@dataclass(frozen=True)
class SecretPattern:
    """One syntax of a kind of secret. Of several patterns that find a secret, the lowest `rank` names it."""

    name: str
    triggers: tuple[str, ...]
    expression: str
    rank: int

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """Compiled at its first use: compiling all patterns would add 0.2 s to a start."""
        return re.compile(self.expression, re.IGNORECASE | re.MULTILINE)


def _ranked(entries: Iterable[Entry], first_rank: int) -> tuple[SecretPattern, ...]:
    return tuple(
        SecretPattern(name, tuple(triggers.split("|")), expression, rank)
        for rank, (name, triggers, expression) in enumerate(entries, first_rank)
    )


CREDENTIALS = _ranked([*DEVICES, *PROGRAMS], 0)
"""The patterns that always apply."""
OPTIONAL = {option: _ranked(entries, 1000) for option, entries in _OPTIONAL.items()}
"""The patterns that an administrator can switch on, by the member of the configuration."""


@dataclass(frozen=True)
class Finding:
    """A secret in a text, from `start` to `end` (exclusive)."""

    start: int
    end: int
    name: str
    rank: int


class PatternSet:
    """Finds the matches of a set of patterns."""

    def __init__(self, patterns: Iterable[SecretPattern]) -> None:
        self._by_trigger: dict[str, list[SecretPattern]] = defaultdict(list)
        for pattern in patterns:
            for trigger in pattern.triggers:
                self._by_trigger[trigger].append(pattern)

    def find(self, text: str) -> Iterator[Finding]:
        """Yields every secret in `text`; the findings may overlap."""
        lowered = ascii_lower(text)
        for trigger, patterns in self._by_trigger.items():
            at = lowered.find(trigger)
            while at >= 0:
                start = text.rfind("\n", 0, at) + 1
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
                for pattern in patterns:
                    # Most patterns of a trigger do not match.
                    for match in pattern.regex.finditer(text, start, end):
                        yield from _secrets(pattern, match)
                at = lowered.find(trigger, end)


def ascii_lower(text: str) -> str:
    """`text` in lower case with unchanged offsets: some non-ASCII characters become two in lower case."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else re.sub(r"[^\x00-\x7f]", "?", text).lower()


def _secrets(pattern: SecretPattern, match: re.Match[str]) -> Iterator[Finding]:
    text = match.string
    for group in range(1, pattern.regex.groups + 1):
        first, after = match.span(group)
        if after - first > 1 and text[after - 1] in ";,":
            after -= 1
        if _is_value(text[first:after]):
            yield Finding(first, after, pattern.name, pattern.rank)


def _is_value(text: str) -> bool:
    """Whether the text can be a secret: neither masked by asterisks nor mere punctuation."""
    return bool(text.strip("*")) and (len(text) > 3 or any(map(str.isalnum, text)))
