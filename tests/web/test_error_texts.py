"""Error texts are sentences, and a refused permission is named with its purpose."""

import re
from pathlib import Path

import pytest

from netstacks.web import app
from netstacks.web.auth.purposes import PURPOSES
from netstacks.web.http.outputs import as_sentence
from tests.web.conftest import Api


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("there is no such device", "There is no such device."),
        ("There is no such device.", "There is no such device."),
        ("what now?", "What now?"),
        ("ctrl-b is draining already", "ctrl-b is draining already."),
        ("r1 is switched off", "r1 is switched off."),
        ("name: is missing", "name: is missing"),
        ("seat_limit_reached: all 2 seats are in use", "seat_limit_reached: all 2 seats are in use"),
        ("", ""),
    ],
)
def test_an_error_is_shown_as_a_sentence(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


def test_every_required_permission_has_a_purpose() -> None:
    sources = Path(app.__file__).parent.rglob("*.py")
    asked = re.compile(r'(?:@guard\.requires|\.may)\("([\w.]+)"\)')
    required = {name for each in sources for name in asked.findall(each.read_text())}
    assert required == set(PURPOSES)


def test_a_refusal_names_the_permission_and_its_purpose(viewer: Api) -> None:
    answer = viewer.get("/api/v1/ha/status")
    assert (answer.status_code, answer.json) == (
        403,
        {"error": "You need the ha.view permission to see HA status. Your role, viewer, does not have it."},
    )
