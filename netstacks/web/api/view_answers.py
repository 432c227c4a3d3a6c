"""The JSON that a view answers with, or refuses with, read from the annotation of what it returns."""

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from flask import Response

from netstacks.web.http.json_response import JsonResponse, Refused

# `str` is the empty body of a 204.
_WITHOUT_JSON = (NoReturn, Response, str)


def answer_of(view: Callable[..., Any]) -> Any:
    """The type of the JSON; None for a view whose annotation names no JSON, such as a download."""
    found = tuple(_answers(view))
    return Union[found] if found else None  # noqa: UP007 - of types that are known at run time only


def refusals_of(view: Callable[..., Any]) -> dict[int, Any]:
    """The types of the JSON of errors that have further members, by status."""
    refusals = (get_args(each) for each in _returned(view) if get_origin(each) is Refused)
    return {get_args(status)[0]: body for status, body in refusals}


def _answers(view: Callable[..., Any]) -> Iterator[Any]:
    for each in _returned(view):
        found = get_args(each)[0] if get_origin(each) in (tuple, JsonResponse) else each
        if found not in _WITHOUT_JSON and get_origin(found) is not Refused:
            yield found


def _returned(view: Callable[..., Any]) -> Iterator[Any]:
    """The types that the view returns, one by one."""
    return _one_by_one(get_type_hints(inspect.unwrap(view), include_extras=True)["return"])


def _one_by_one(kind: Any) -> Iterator[Any]:
    if get_origin(kind) in (Union, types.UnionType):
        for each in get_args(kind):
            yield from _one_by_one(each)
    else:
        yield kind
