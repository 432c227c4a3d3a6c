"""User settings: the body is the JSON value itself, a user's own."""

import json
from typing import Any

import pytest

from tests.web.conftest import Api

PATH = "/api/user-settings/ai.mode_prompt.chat"


def test_an_unknown_key_is_null(operator: Api) -> None:
    answer = operator.get(PATH)
    assert (answer.status_code, answer.json) == (200, None)


@pytest.mark.parametrize("value", ["a prompt", 123, {"a": 1}, [], None, True])
def test_the_value_comes_back_without_a_wrapper(operator: Api, value: Any) -> None:
    assert operator.put(PATH, data=json.dumps(value)).status_code == 204
    assert operator.get(PATH).json == value


def test_the_content_type_does_not_matter(operator: Api) -> None:
    assert operator.put(PATH, data=json.dumps("text"), content_type="text/plain").status_code == 204
    assert operator.get(PATH).json == "text"


def test_settings_are_a_users_own(operator: Api, viewer: Api) -> None:
    operator.put(PATH, json=1)
    assert viewer.get(PATH).json is None
    assert viewer.delete(PATH).status_code == 204
    assert operator.get(PATH).json == 1
    assert operator.delete(PATH).status_code == 204
    assert operator.get(PATH).json is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("not json", 400),
        ("NaN", 400),
        ('"\\ud800"', 400),
        ('"\\u0000"', 422),
        ("1e999", 422),
        ('"%s"' % ("x" * 300_000), 422),
    ],
    ids=["text", "NaN", "half a surrogate pair", "NUL", "infinity", "large"],
)
def test_a_value_that_cannot_be_stored_is_refused(operator: Api, body: str, status: int) -> None:
    answer = operator.put(PATH, data=body)
    assert (answer.status_code, type(answer.json["error"])) == (status, str)
