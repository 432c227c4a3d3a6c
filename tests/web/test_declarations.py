"""The declarations of views validate requests, and the OpenAPI document is made from them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pydantic import BaseModel
from werkzeug.exceptions import BadRequest

import netstacks.web.api
from netstacks.errors import Forbidden, InvalidInput
from netstacks.web.api.openapi_operation import statuses
from netstacks.web.auth import guard
from netstacks.web.http.declarations import (
    Declared,
    after,
    answers,
    declared,
    produces,
    takes_body,
    takes_csv,
    takes_json,
    takes_query,
)


class Thing(BaseModel):
    name: str
    site: str | None = None


def call(view: Callable[..., Any], query: str = "", body: bytes = b"", **path: Any) -> Any:
    with Flask("test").test_request_context(f"/?{query}", method="POST", data=body):
        return view(**path)


def test_the_body_is_validated_and_given_to_the_view() -> None:
    @takes_body(Thing)
    def view(thing: Thing, number: int) -> tuple[Thing, int]:
        return thing, number

    assert call(view, body=b'{"name": "r1"}', number=7) == (Thing(name="r1"), 7)
    assert declared(view) == Declared(body=Thing)
    with pytest.raises(InvalidInput, match="name: is missing"):
        call(view, body=b"{}", number=7)


def test_the_query_is_validated_and_given_to_the_view() -> None:
    @takes_query(Thing)
    def view(thing: Thing) -> Thing:
        return thing

    assert call(view, "name=r1&site=") == Thing(name="r1", site=None)
    assert declared(view) == Declared(query=Thing)
    with pytest.raises(InvalidInput, match="name: is missing"):
        call(view, "name=")


def test_an_empty_value_of_a_query_can_be_kept() -> None:
    @takes_query(Thing, keeps_empty=True)
    def view(thing: Thing) -> Thing:
        return thing

    assert call(view, "name=&site=") == Thing(name="", site="")


def test_a_body_without_a_model_is_given_to_the_view() -> None:
    @takes_json
    def json_view(value: Any) -> Any:
        return value

    @takes_csv
    def csv_view(data: bytes) -> bytes:
        return data

    assert call(json_view, body=b"[1]") == [1]
    assert call(csv_view, body=b"a,b\n") == b"a,b\n"
    assert [declared(each).body_type for each in (json_view, csv_view)] == ["application/json", "text/csv"]
    with pytest.raises(BadRequest):
        call(json_view, body=b"[")


def test_decorators_take_effect_in_their_order() -> None:
    def refuse() -> None:
        raise Forbidden("is switched off")

    @after(refuse)
    @takes_query(Thing)
    @takes_csv
    def view(data: bytes, thing: Thing) -> None:
        raise AssertionError((data, thing))

    with pytest.raises(Forbidden):
        call(view)
    assert declared(view) == Declared(query=Thing, body_type="text/csv")


def test_declarations_are_seen_through_the_other_decorators() -> None:
    @guard.requires("devices.access")
    @takes_body(Thing)
    @answers(201)
    @answers(429)
    @produces("text/csv")
    def view(thing: Thing) -> Thing:
        return thing

    found = declared(view)
    assert (found.body, found.statuses, found.content_types) == (Thing, {201, 429}, {"text/csv"})
    assert guard.permission_of(view) == "devices.access"


def test_a_view_declares_nothing_about_another_one() -> None:
    def view() -> None: ...

    def other() -> None: ...

    answers(404)(view)
    assert (declared(view).statuses, declared(other)) == ({404}, Declared())


@pytest.mark.parametrize(("its", "success"), [((), {200}), ((429,), {200}), ((201, 429), {201}), ((501,), set())])
def test_a_success_is_200_unless_another_one_is_declared(its: tuple[int, ...], success: set[int]) -> None:
    def view() -> None: ...

    found = statuses(answers(*its)(view), "GET", [])
    assert found == success | {*its} | {422, 503}


def test_views_of_the_api_read_requests_by_their_declarations_alone() -> None:
    """One that read its body or its query itself would take what the OpenAPI document does not name."""
    reading = re.compile(
        r"(?<![\w.])(inputs\.)?(parse|parse_query|json_body)\(|request\.(args|data|form|get_\w+|json|values)\b"
    )
    files = list(Path(netstacks.web.api.__path__[0]).glob("*.py"))
    found = [f"{file.name}: {match[0]}" for file in files for match in reading.finditer(file.read_text())]
    assert len(files) > 50
    assert found == []
