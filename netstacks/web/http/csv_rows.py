"""CSV for spreadsheets, which run what begins like a formula: every export writes its rows here."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# A spreadsheet takes full-width and small forms for the sign itself, depending on its language.
_SIGNS = r"=+\-@＝＋－＠﹦﹢﹣﹫−"
# Where a cell may end. Which of them does is the reader's choice, and some readers ignore quotation marks.
_SEPARATORS = r",;|\t\r\n\v\f\u2028\u2029"
# What a spreadsheet leaves out at the beginning of a cell, or shows nothing of.
_LEFT_OUT = r"\s\x00-\x1f\u00ad\u200b-\u200f\u2060\ufeff\"'`“”„‘’«»"
# Also matches where no sign follows, so that a long run of separators is looked at once.
_BEGINNING = re.compile(rf"((?:^|[{_SEPARATORS}])[{_SEPARATORS}{_LEFT_OUT}]*+)([{_SIGNS}]?)")


def encoded(columns: Sequence[str], pages: Iterable[Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    """The head line, then each page of rows. A value that is neither text nor a number is written as JSON."""
    yield ",".join(columns) + "\r\n"
    for page in pages:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows([_cell(row[column]) for column in columns] for row in page)
        yield text.getvalue()


def neutral(text: str) -> str:
    """The text with an apostrophe before each sign that begins a cell, wherever a reader may begin one."""
    marked = _BEGINNING.sub(lambda found: f"{found[1]}'{found[2]}" if found[2] else found[1], text)
    return f"'{marked}" if marked.startswith(("\t", "\r", "\n")) else marked


def _cell(value: Any) -> Any:
    match value:
        case str():
            return neutral(value)
        case dict() | list():
            return json.dumps(_neutral_within(value))
    return value


def _neutral_within(value: Any) -> Any:
    """The same before it becomes JSON, which stays valid and keeps its numbers."""
    match value:
        case str():
            return neutral(value)
        case dict():
            return {neutral(key): _neutral_within(each) for key, each in value.items()}
        case list():
            return [_neutral_within(each) for each in value]
    return value
