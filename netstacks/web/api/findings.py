"""Parsers for models' answers: they extract JSON from the words around it, and compute positions themselves."""

import json
import re
from bisect import bisect_right
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

_MAX_HIGHLIGHTS = 50
_MAX_VALUES = 100
# Limits the attempts to parse JSON: each one may read the rest of the text.
_MAX_OPENINGS = 50


HighlightType = Literal["error", "warning", "security", "anomaly", "info"]


class HighlightJson(TypedDict):
    """A text in the output, with its line and columns, all from 0."""

    line: int
    start: int
    end: int
    """The column behind the text."""
    text: str
    type: HighlightType
    confidence: float
    """From 0 to 1."""
    reason: str


class ScriptJson(TypedDict):
    script: str
    explanation: str


class _Highlight(BaseModel):
    text: Annotated[str, Field(pattern=r"^[^\n]{1,500}$")]
    type: HighlightType = "info"
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    reason: Annotated[str, Field(max_length=500)] = ""


class _Script(BaseModel):
    script: str
    explanation: str = ""


_CODE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HIGHLIGHT = TypeAdapter(_Highlight)


def found_values(answer: str) -> list[Any]:
    """The values of the first JSON array in an answer."""
    values: list[Any] = _json_in(answer, "[", [])
    return values[:_MAX_VALUES]


def placed_highlights(output: str, values: list[Any]) -> list[HighlightJson]:
    """The highlights whose text occurs in `output`, each with its line and columns; others are dropped."""
    found: list[HighlightJson] = []
    line_starts = [0, *(match.end() for match in re.finditer("\n", output))]
    for value in values:
        try:
            highlight = _HIGHLIGHT.validate_python(value)
        except ValidationError:
            continue
        at = output.find(highlight.text)
        while at >= 0 and len(found) < _MAX_HIGHLIGHTS:
            line = bisect_right(line_starts, at) - 1
            start = at - line_starts[line]
            found.append(
                {
                    "line": line,
                    "start": start,
                    "end": start + len(highlight.text),
                    "text": highlight.text,
                    "type": highlight.type,
                    "confidence": highlight.confidence,
                    "reason": highlight.reason,
                }
            )
            # One highlight of a text per line.
            end = line_starts[line + 1] if line + 1 < len(line_starts) else len(output)
            at = output.find(highlight.text, end)
    return found


def found_script(answer: str) -> ScriptJson:
    """The script of an answer: its JSON, else its first fenced code block, else the whole answer."""
    try:
        found = _Script.model_validate(_json_in(answer, "{", None))
        return {"script": found.script, "explanation": found.explanation}
    except ValidationError:
        pass
    if block := _CODE.search(answer):
        return {"script": block[1], "explanation": (answer[: block.start()] + answer[block.end() :]).strip()}
    return {"script": answer, "explanation": ""}


def _json_in(text: str, opening: str, default: Any) -> Any:
    """The first JSON value that begins with `opening`."""
    decoder = json.JSONDecoder()
    at = -1
    for _ in range(_MAX_OPENINGS):
        at = text.find(opening, at + 1)
        if at < 0:
            break
        try:
            return decoder.raw_decode(text, at)[0]
        except (ValueError, RecursionError):
            continue
    return default
