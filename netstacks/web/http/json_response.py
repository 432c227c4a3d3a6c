"""Responses that name the type of their JSON, for views that set headers, and for answers that may be null."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Generic, NotRequired, TypeVar

from flask import Response, jsonify
from typing_extensions import TypedDict

from netstacks import greenlets

Body = TypeVar("Body")
Status = TypeVar("Status", bound=int)


class JsonResponse(Response, Generic[Body]):
    """A response with the JSON of a `Body`. The OpenAPI document reads the type in the annotation of a view."""

    default_mimetype = "application/json"


class Error(TypedDict):
    """The JSON of an error, unless its view names another one."""

    error: str
    """A sentence for users."""
    code: NotRequired[str]
    """A word for programs, in some errors."""


class Refused(Response, Generic[Status, Body]):
    """An error with the JSON of a `Body`, which has further members. The OpenAPI document reads both."""

    default_mimetype = "application/json"


def json_response(body: Body, status: int = 200) -> JsonResponse[Body]:
    """The response with `body` as JSON."""
    return JsonResponse(jsonify(body).get_data(), status)


def refused(status: Status, body: Body) -> Refused[Status, Body]:
    return Refused(jsonify(body).get_data(), status)


def json_with_list(facts: Mapping[str, Any], name: str, items: Iterable[Any]) -> JsonResponse[Any]:
    """The response with an object of `facts` and of a list `name` of any length, which is encoded item by item.

    So the terminals of this instance go on meanwhile.
    """
    encoded = []
    for item in items:
        encoded.append(json.dumps(item))
        greenlets.give_way()
    head = json.dumps({**facts, name: []}).removesuffix("]}")
    return JsonResponse(f"{head}{','.join(encoded)}]}}")
