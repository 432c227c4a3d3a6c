"""The JSON that a view answers with, read from the annotation of what it returns."""

import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from flask import Response

from netstacks.web.http.json_response import JsonResponse

# `str` is the empty body of a 204.
_WITHOUT_JSON = (NoReturn, Response, str)


def answer_of(view: Callable[..., Any]) -> Any:
    """The type of the JSON; None for a view whose annotation names no JSON, such as a download."""
    returned = get_type_hints(inspect.unwrap(view), include_extras=True)["return"]
    found = tuple(_answers(returned))
    return Union[found] if found else None  # noqa: UP007 - of types that are known at run time only


def _answers(returned: Any) -> Iterator[Any]:
    origin = get_origin(returned)
    if origin in (Union, types.UnionType):
        for each in get_args(returned):
            yield from _answers(each)
    elif origin is tuple:
        yield from _answers(get_args(returned)[0])
    elif origin is JsonResponse:
        yield get_args(returned)[0]
    elif returned not in _WITHOUT_JSON:
        yield returned
