"""The parts of the page HA status that need no cluster: changed rows, small charts, ages."""

from datetime import timedelta

import pytest

from netstacks.web.admin.ha_markup import Markup
from netstacks.web.admin.ha_source import coarse
from netstacks.web.admin.sparklines import sparkline


@pytest.mark.parametrize(
    ("sent", "current", "expected"),
    [
        (None, "<p id=a>1</p>", "<p id=a>1</p>"),
        ("<p id=a>1</p>", "<p id=a>1</p>", ""),
        ("<p id=a>1</p>", "<p id=a>2</p>", "<p id=a>2</p>"),
        ("<b><tr id=x>1</tr><tr id=y>1</tr></b>", "<b><tr id=x>1</tr><tr id=y>2</tr></b>", "<tr id=y>2</tr>"),
        ("<b><tr id=x>1</tr></b>", "<b><tr id=y>1</tr></b>", "<b><tr id=y>1</tr></b>"),
        ("<b><tr id=x>1</tr></b>", "<i><tr id=x>2</tr></i>", "<i><tr id=x>2</tr></i>"),
        ("<b><tr id=x>1</tr></b>", "<b><tr id=x>1</tr><tr id=y>1</tr></b>", "<b><tr id=x>1</tr><tr id=y>1</tr></b>"),
    ],
)
def test_only_what_has_changed_is_sent(sent: str | None, current: str, expected: str) -> None:
    assert Markup.of(current).since(sent and Markup.of(sent)) == expected


def test_sparklines() -> None:
    line = sparkline([None, 4, None, 0, 2])
    assert (line.now, line.least, line.most) == (2, 0, 4)
    assert line.path == "M56 2h.1M58 30h.1L59 16"
    assert sparkline([None, None]).path == ""
    assert sparkline([0, 0]).path == "M58 30h.1L59 30"
    assert sparkline([None, 0]).path == "M59 30h-3"


@pytest.mark.parametrize(
    ("secs", "expected"),
    [
        (-3, "< 1 min"),
        (59, "< 1 min"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_coarse_ages(secs: int, expected: str) -> None:
    assert coarse(timedelta(seconds=secs)) == expected


def test_an_event_has_the_same_html_in_lines_that_the_stream_allows() -> None:
    first = Markup.of('<table id="t">\n<tr id="a">1\r2</tr>\n<tr id="b">3</tr>\n</table>')
    second = Markup.of('<table id="t">\n<tr id="a">1\r2</tr>\n<tr id="b">4</tr>\n</table>')
    whole = 'data: <table id="t">\ndata: <tr id="a">1&#13;2</tr>\ndata: <tr id="b">3</tr>\ndata: </table>\n\n'
    assert first.event_since(None) == whole
    assert first.event_since(None) is first.event_since(None)
    assert second.event_since(first) == 'data: <tr id="b">4</tr>\n\n'
    assert first.event_since(first) == ""
