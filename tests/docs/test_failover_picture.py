"""The animated picture of the README: it is drawn from the recording beside it, and shows a whole failover."""

import json
from xml.etree import ElementTree

from bench.failover import CAST, PICTURE
from bench.failover_picture import svg
from tests.controller import ROOT

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_the_picture_is_the_one_of_the_recording() -> None:
    """`python -m bench.failover` makes both; `bench.failover_picture` draws one again."""
    assert PICTURE.read_text() == svg(CAST.read_text())


def test_the_recording_shows_typing_a_kill_the_line_about_it_and_typing() -> None:
    _, *events = (json.loads(line) for line in CAST.read_text().splitlines())
    markers = [text for _, kind, text in events if kind == "m"]
    assert markers[0] == "connected"
    assert markers[1].startswith("> kill ")
    assert markers[3:] == ["reconnecting", "connected"]
    killed = [text for _, _, text in events].index(markers[1])
    before, after = (
        "".join(text for _, kind, text in part if kind == "o") for part in (events[:killed], events[killed:])
    )
    assert "sh ip int br" in before
    assert "the SSH connection was re-established" in after
    assert "show clock" in after


def test_the_picture_is_small_and_runs_no_script() -> None:
    assert PICTURE.stat().st_size < 300_000
    names = {each.tag.removeprefix(NAMESPACE) for each in ElementTree.parse(PICTURE).iter()}
    assert names <= {"svg", "title", "style", "rect", "defs", "g", "text", "use"}
    assert "(docs/failover.svg)" in (ROOT / "README.md").read_text()
