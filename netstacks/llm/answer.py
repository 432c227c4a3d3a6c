"""Assembles a complete answer from the pieces of a stream."""

import json
import math
from dataclasses import dataclass
from typing import Any

from netstacks.llm.conversation import (
    Finished,
    Piece,
    StopReason,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseEnd,
    ToolUseStart,
    Usage,
)
from netstacks.llm.failures import ProviderBroken, ProviderFailure, ProviderRefused
from netstacks.llm.outcomes import Skipped

_MAX_LEVELS = 100


@dataclass(frozen=True)
class Answer:
    """The answer of a model, the provider that gave it, and the providers that were skipped."""

    text: str
    tool_uses: tuple[ToolUse, ...]
    stop_reason: StopReason
    usage: Usage
    why_incomplete: str = ""
    """Why the text is incomplete, worded for the user. The end of the text contains it too."""
    provider: str = ""
    model: str = ""
    skipped: tuple[Skipped, ...] = ()


class AnswerBuilder:
    """Collects the pieces of one answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._begun: ToolUseStart | None = None
        self._input: list[str] = []
        self._tool_uses: list[ToolUse] = []
        self._end = Finished(None)
        self.tool_uses_begun = 0
        self.why_incomplete = ""
        self.broken_tool_use: ProviderFailure | None = None
        """The failure of a tool call whose input is not a JSON object. The stop reason decides whether to raise it."""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def add(self, piece: Piece) -> None:
        """Adds a piece. At Finished, raises ProviderFailure when the input of a tool call was not a JSON object."""
        match piece:
            case TextDelta(text):
                self._texts.append(text)
            case ToolUseStart():
                self._begun, self._input = piece, []
                self.tool_uses_begun += 1
            case ToolInputDelta(part):
                self._input.append(part)
            case ToolUseEnd():
                self._end_tool_use()
            case Finished(stop_reason):
                if self.broken_tool_use is not None:
                    # The token limit truncated the input: not a fault of the provider.
                    if stop_reason == "max_tokens":
                        raise ProviderRefused("used all its tokens in a tool call", 200)
                    raise self.broken_tool_use
                self._end = piece

    def _end_tool_use(self) -> None:
        if self._begun is None:
            return
        try:
            self._tool_uses.append(ToolUse(self._begun.id, self._begun.name, parsed_input("".join(self._input))))
        except ProviderBroken as failure:
            self.broken_tool_use = failure
        self._begun = None

    def answer(self) -> Answer:
        """The answer so far."""
        end = self._end
        return Answer(self.text, tuple(self._tool_uses), end.stop_reason, end.usage, self.why_incomplete)


def parsed_input(text: str) -> dict[str, Any]:
    """The input of a tool call; an empty text means no input. Raises ProviderBroken."""
    try:
        value = json.loads(text or "{}", parse_constant=_finite, parse_float=_finite)
        if isinstance(value, dict):
            _check_levels(value)
            return value
    except (ValueError, RecursionError):
        pass
    raise ProviderBroken("sent a tool call whose input is not a JSON object")


def _finite(number: str) -> float:
    """Raises ValueError for NaN and infinity, which JSON does not have."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError
    return value


def _check_levels(value: dict[str, Any]) -> None:
    """Raises ValueError for nesting that Python can read but not write."""
    level: list[Any] = [value]
    for _ in range(_MAX_LEVELS):
        items = (item for each in level for item in (each.values() if isinstance(each, dict) else each))
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError
