"""CSV files, protected against formula injection: spreadsheets run cells that begin like a formula."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from netstacks import greenlets

# Formula signs. Some spreadsheets accept full-width and small forms, depending on the language.
_SIGNS = r"=+\-@＝＋－＠﹦﹢﹣﹫−"
# Characters that may separate cells: programs differ, and some ignore quotation marks.
_SEPARATORS = r",;|\t\r\n\v\f\u2028\u2029"
# Characters that spreadsheets skip, or do not show, at the beginning of a cell.
_LEFT_OUT = r"\s\x00-\x1f\u00ad\u200b-\u200f\u2060\ufeff\"'`“”„‘’«»"
# A tab or a line end at the beginning; also behind apostrophes, so that `original` finds the one that was added.
_LINE_END = re.compile(r"'*[\t\r\n]")
# Also matches where no sign follows, so that a long run of separators is scanned once.
_BEGINNING = re.compile(rf"((?:^|[{_SEPARATORS}])[{_SEPARATORS}{_LEFT_OUT}]*+)([{_SIGNS}]?)")


def encoded(columns: Sequence[str], pages: Iterable[Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    """The header line, then each page of rows. Lists and objects are written as JSON."""
    yield ",".join(columns) + "\r\n"
    for page in pages:
        text = io.StringIO()
        writer = csv.writer(text)
        for row in page:
            writer.writerow([_cell(row[column]) for column in columns])
            greenlets.give_way()
        yield text.getvalue()


def neutral(text: str) -> str:
    """The text with an apostrophe before each formula sign that may begin a cell."""
    marked = _BEGINNING.sub(lambda found: f"{found[1]}'{found[2]}" if found[2] else found[1], text)
    return f"'{marked}" if _LINE_END.match(marked) else marked


def original(cell: str) -> str:
    """The inverse of `neutral`. Other apostrophes, in cells of another origin, stay."""
    if cell.startswith("'") and _LINE_END.match(cell):
        cell = cell[1:]
    return _BEGINNING.sub(lambda found: (found[1].removesuffix("'") if found[2] else found[1]) + found[2], cell)


def _cell(value: Any) -> Any:
    match value:
        case str():
            return neutral(value)
        case dict() | list():
            return json.dumps(_neutral_within(value))
    return value


def _neutral_within(value: Any) -> Any:
    """Applies `neutral` to the texts in `value`, before it is encoded as JSON: the JSON stays valid."""
    match value:
        case str():
            return neutral(value)
        case dict():
            return {neutral(key): _neutral_within(each) for key, each in value.items()}
        case list():
            return [_neutral_within(each) for each in value]
    return value
