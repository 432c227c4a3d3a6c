"""Decorators that declare what a view takes and how it answers. The OpenAPI document is made from them.

A declared model validates the request, and the view receives the result. So there is no second list that could differ.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import request
from pydantic import BaseModel

from netstacks.web.http import inputs

Given = TypeVar("Given")
Model = TypeVar("Model", bound=BaseModel)
Rest = ParamSpec("Rest")
Answer = TypeVar("Answer")
View = TypeVar("View", bound=Callable[..., Any])
Taking = Callable[[Callable[Concatenate[Given, Rest], Answer]], Callable[Rest, Answer]]

_ATTRIBUTE = "declared"


@dataclass(frozen=True)
class Declared:
    """`statuses` are those beyond what every view of its kind may answer (openapi_operation.py)."""

    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    body_type: str | None = None
    """The content type of a body without a model."""
    statuses: frozenset[int] = frozenset()
    content_types: frozenset[str] = frozenset()


def declared(view: Callable[..., Any]) -> Declared:
    """What the decorators of `view` have declared."""
    found: Declared = getattr(view, _ATTRIBUTE, Declared())
    return found


def takes_body(model: type[Model]) -> Taking[Model, Rest, Answer]:
    """Decorates a view: its first argument is the JSON body as `model`. Else the answer is 400 or 422."""
    return _takes(partial(inputs.parse, model), body=model)


def takes_query(model: type[Model], *, keeps_empty: bool = False) -> Taking[Model, Rest, Answer]:
    """Decorates a view: its first argument is the query string as `model`. Else the answer is 422.

    Empty values count as absent, unless `keeps_empty`.
    """
    return _takes(partial(inputs.parse_query, model, keeps_empty=keeps_empty), query=model)


def takes_json(view: Callable[Concatenate[Any, Rest], Answer]) -> Callable[Rest, Answer]:
    """Decorates a view: its first argument is the value of the body, which may be any JSON. Else the answer is 400."""
    return _takes(inputs.json_body, body_type="application/json")(view)


def takes_csv(view: Callable[Concatenate[bytes, Rest], Answer]) -> Callable[Rest, Answer]:
    """Decorates a view: its first argument is the body as it came, which should be a CSV file."""
    return _takes(_body, body_type="text/csv")(view)


def after(check: Callable[[], object]) -> Callable[[View], View]:
    """Decorates a view: `check` comes first. An error that it raises is the answer, whatever the request has sent."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checking(*args: Any, **kwargs: Any) -> Any:
            check()
            return view(*args, **kwargs)

        return checking  # type: ignore[return-value]

    return decorate


def answers(*statuses: int) -> Callable[[View], View]:
    """Decorates a view that answers with these statuses, too; a success among them stands in place of 200.

    The tests of views fail for a status that is not declared (tests/web/answer_types.py).
    """
    return lambda view: _declare(view, statuses=declared(view).statuses | {*statuses})


def produces(*content_types: str) -> Callable[[View], View]:
    """Decorates a view whose successful answers may have these content types, which are not JSON."""
    return lambda view: _declare(view, content_types=frozenset(content_types))


def _body() -> bytes:
    return request.get_data()


def _takes(read: Callable[[], Given], **facts: Any) -> Taking[Given, Rest, Answer]:
    def decorate(view: Callable[Concatenate[Given, Rest], Answer]) -> Callable[Rest, Answer]:
        @wraps(view)
        def taking(*args: Rest.args, **kwargs: Rest.kwargs) -> Answer:
            return view(read(), *args, **kwargs)

        return _declare(taking, **facts)

    return decorate


def _declare(view: View, **facts: Any) -> View:
    setattr(view, _ATTRIBUTE, replace(declared(view), **facts))
    return view
