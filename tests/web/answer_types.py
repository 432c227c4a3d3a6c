"""Every JSON answer of the API that a test receives has the type that its view names, and no further members.

An error has that of errors, or the one that the view names for its status.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from flask import Flask
from pydantic import ConfigDict, TypeAdapter
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from netstacks.web.api.view_answers import answer_of, refusals_of
from netstacks.web.http.json_response import Error

_CLOSED = ConfigDict(extra="forbid", strict=True)


def check_type(app: Flask, answer: TestResponse) -> None:
    """Raises ValidationError for an answer that is not as the annotation of the view says."""
    if answer.is_json and answer.request.path.startswith("/api/"):
        kind = _kind(_view(app, answer), answer.status_code)
        # In a list, because a type with a name takes no configuration itself.
        _adapter(kind).validate_json(b"[%b]" % answer.data)


def _view(app: Flask, answer: TestResponse) -> Callable[..., Any] | None:
    """None where the address leads to no view, or not with that method."""
    try:
        endpoint, _ = app.url_map.bind("localhost").match(answer.request.path, answer.request.method)
    except HTTPException:
        return None
    return app.view_functions[endpoint]


def _kind(view: Callable[..., Any] | None, status: int) -> Any:
    if status < 400:
        return answer_of(view) if view else None
    further = refusals_of(view).get(status) if view else None
    return Error if further is None else further | Error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(list[kind], config=_CLOSED)
