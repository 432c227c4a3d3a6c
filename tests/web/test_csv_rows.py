"""No cell of an export begins like a formula, with any separator."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.web.http.csv_rows import encoded, neutral, original

SIGNS = "=+-@＝＋－＠"
SEPARATORS = ",;|\t\r\n"
HOSTILE = st.text(alphabet=SIGNS + SEPARATORS + " '\"\u00a0\u200b\ufeff’ab1{}[]:", max_size=12)


# An apostrophe is no blank: it is what keeps the cell text.
_FORMULA = re.compile(rf"[\s\x00-\x1f\u200b\ufeff\"’]*[{re.escape(SIGNS)}]")


def readings(text: str) -> list[str]:
    """The cells as readers with one of the separators see them, with and without quotation marks."""
    cells = [piece for separator in SEPARATORS for piece in text.split(separator)]
    for separator in ",;|\t":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            cells += row
    return cells


@given(HOSTILE, HOSTILE)
def test_no_reader_finds_a_formula(first: str, second: str) -> None:
    row = {"a": first, "b": {first: [second, {"deep": first}]}, "c": second}
    text = "".join(encoded(("a", "b", "c"), [[row]]))
    assert not [cell for cell in readings(text) if _FORMULA.match(cell)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("＝1+1", "'＝1+1"),
        ("－1", "'－1"),
        (" =1", " '=1"),
        ('"=1', "\"'=1"),
        ("a;=1", "a;'=1"),
        ("a, @b", "a, '@b"),
        ("a\n+1", "a\n'+1"),
        ('x";=1', "x\";'=1"),
        ("\ttext", "'\ttext"),
        ("show run | begin a=b - c", "show run | begin a=b - c"),
        ("", ""),
    ],
)
def test_an_apostrophe_stands_before_the_sign(text: str, expected: str) -> None:
    assert neutral(text) == expected


def test_a_long_run_of_separators_is_looked_at_once() -> None:
    text = "\t" * 1_000_000
    assert neutral(text) == f"'{text}"


def test_numbers_stay_numbers_and_json_stays_json() -> None:
    row = {"n": -5, "at": "2026-01-02", "nothing": None, "details": {"n": -5, "list": [-1, "-1", True], "=": "=1"}}
    text = "".join(encoded(tuple(row), [[row]]))
    (read,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (read["n"], read["at"], read["nothing"]) == ("-5", "2026-01-02", "")
    assert json.loads(read["details"]) == {"n": -5, "list": [-1, "'-1", True], "'=": "'=1"}


def test_pages_are_written_one_by_one() -> None:
    pages = iter([[{"a": 1}, {"a": 2}], [{"a": 3}]])
    lines = encoded(("a",), pages)
    assert [next(lines), next(lines), next(lines)] == ["a\r\n", "1\r\n2\r\n", "3\r\n"]


@given(HOSTILE)
def test_every_text_is_found_again(text: str) -> None:
    assert original(neutral(text)) == text
