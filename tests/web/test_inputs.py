"""The checks of request bodies and queries, and the texts of their refusals."""

import pytest
from flask import Flask
from pydantic import BaseModel, Field
from werkzeug.exceptions import BadRequest

from netstacks.errors import InvalidInput
from netstacks.web.http.inputs import json_body, parse, parse_query


class Thing(BaseModel):
    name: str
    port: int = Field(22, ge=1, le=65535)
    tags: list[str] = []


def parsed(body: bytes) -> Thing:
    with Flask("test").test_request_context(method="POST", data=body):
        return parse(Thing)


def test_a_body_becomes_the_model_and_unknown_members_are_ignored() -> None:
    assert parsed(b'{"name": "r1", "port": 2222, "colour": "red"}') == Thing(name="r1", port=2222)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{}", "name: is missing"),
        (b'{"name": 1}', "name: must be a valid string"),
        (b'{"name": "r", "port": 70000}', "port: must be less than or equal to 65535"),
        (b'{"name": "r", "tags": ["a", 2]}', "tags.1: must be a valid string"),
        (b'{"name": "a\\u0000b"}', "Text must not contain NUL characters."),
        (b'{"name": "r", "tags": ["\\u0000"]}', "Text must not contain NUL characters."),
        (
            b'{"name": ' + b"[" * 200 + b"]" * 200 + b"}",
            "Lists and objects must not be nested more than 100 levels deep.",
        ),
        (b"[]", "The request body must be a JSON object."),
        (b"null", "The request body must be a JSON object."),
    ],
)
def test_a_wrong_member_is_named(body: bytes, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(body)
    assert str(caught.value) == text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"port": NaN}', b'{"name": "\\ud800"}', b"[" * 60_000])
def test_json_that_cannot_be_stored_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parsed(body)


def test_the_offending_value_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(b'{"name": {"secret": "hunter2"}}')
    assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)


def test_json_body_takes_any_value_whatever_its_content_type() -> None:
    with Flask("test").test_request_context(method="PUT", data=b'"text"', content_type="text/plain"):
        assert json_body() == "text"


def test_an_empty_query_value_counts_as_absent() -> None:
    with Flask("test").test_request_context("/?name=r1&port="):
        assert parse_query(Thing) == Thing(name="r1")


def test_a_wrong_query_value_is_named() -> None:
    with Flask("test").test_request_context("/?name=r1&port=x"), pytest.raises(InvalidInput, match=r"^port: must be"):
        parse_query(Thing)
