"""Every answer of the API that a test receives is as its view declares.

It has a status of the view, a content type of the view, and JSON of the type that the view names, without further
members. An error has the type of errors, or the one that the view names for its status.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from flask import Flask
from pydantic import ConfigDict, TypeAdapter
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from netstacks.web.api.openapi_document import is_described
from netstacks.web.api.openapi_operation import statuses
from netstacks.web.api.openapi_paths import paths_of
from netstacks.web.api.view_answers import answer_of, refusals_of
from netstacks.web.http.declarations import declared
from netstacks.web.http.json_response import Error

_CLOSED = ConfigDict(extra="forbid", strict=True)


def check_answer(app: Flask, answer: TestResponse) -> None:
    """Raises AssertionError or ValidationError for an answer that is not as its view declares."""
    if not answer.request.path.startswith("/api/"):
        return
    rule = _rule(app, answer)
    view = app.view_functions[rule.endpoint] if rule else None
    # No view declares 500. Tests receive it where a part of the instance that the view needs is not there.
    if rule and view and is_described(rule) and answer.status_code != 500:
        _check_declared(rule, view, answer)
    if answer.is_json:
        # In a list, because a type with a name takes no configuration itself.
        _adapter(_kind(view, answer.status_code)).validate_json(b"[%b]" % answer.data)


def _check_declared(rule: Rule, view: Callable[..., Any], answer: TestResponse) -> None:
    _, parameters = next(iter(paths_of(rule)))
    known = statuses(view, answer.request.method, parameters)
    assert answer.status_code in known, f"{rule.endpoint} does not declare {answer.status_code}: {answer.text[:200]}"
    if answer.status_code in (200, 201, 202) and not answer.is_json:
        assert answer.mimetype in declared(view).content_types, f"{rule.endpoint} does not declare {answer.mimetype}"


def _rule(app: Flask, answer: TestResponse) -> Rule | None:
    """None where the address leads to no view, or not with that method."""
    try:
        rule, _ = app.url_map.bind("localhost").match(answer.request.path, answer.request.method, return_rule=True)
    except HTTPException:
        return None
    return rule


def _kind(view: Callable[..., Any] | None, status: int) -> Any:
    if status < 400:
        return answer_of(view) if view else None
    further = refusals_of(view).get(status) if view else None
    return Error if further is None else further | Error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind], config=_CLOSED)
