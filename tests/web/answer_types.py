"""Every JSON answer of the API that a test receives has the type that its view names, and no further members."""

from collections.abc import Callable
from functools import cache
from typing import Any

from flask import Flask
from pydantic import ConfigDict, TypeAdapter
from werkzeug.test import TestResponse

from netstacks.web.api.view_answers import answer_of

_CLOSED = ConfigDict(extra="forbid", strict=True)


def check_type(app: Flask, answer: TestResponse) -> None:
    """Raises ValidationError for a successful answer that is not as the annotation of the view says."""
    request = answer.request
    if answer.status_code >= 300 or not answer.is_json or not request.path.startswith("/api/"):
        return
    endpoint, _ = app.url_map.bind("localhost").match(request.path, request.method)
    _adapter(app.view_functions[endpoint]).validate_json(b"[%b]" % answer.data)


@cache
def _adapter(view: Callable[..., Any]) -> TypeAdapter[Any]:
    # In a list, because a type with a name takes no configuration itself.
    return TypeAdapter(list[answer_of(view)], config=_CLOSED)  # type: ignore[misc]
