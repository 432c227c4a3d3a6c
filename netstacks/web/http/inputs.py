"""Validation of input: JSON bodies and query strings as pydantic models."""

import json
from typing import Any, NoReturn, TypeVar

from flask import g, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from netstacks.errors import InvalidInput

# Limits nesting: deeper JSON can be parsed, but not serialised again.
_MAX_LEVELS = 100
# The maximum body of a client that is not logged in; for others MAX_CONTENT_LENGTH applies. A body is in memory while
# it arrives, and unauthenticated clients can keep thousands of requests open.
_UNAUTHENTICATED_BYTES = 64 * 1024

Model = TypeVar("Model", bound=BaseModel)


def json_body() -> Any:
    """The JSON value of the request's body; its content type is ignored.

    Raises BadRequest (400) when it is not JSON, InvalidInput (422) when PostgreSQL could not store it.
    """
    if g.get("identity") is None:
        request.max_content_length = _UNAUTHENTICATED_BYTES
    try:
        body = json.loads(request.get_data(), parse_constant=_refuse_constant)
        _check_storable(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The request body must be valid JSON.") from error
    return body


def check_address() -> None:
    """Called before every request. Raises InvalidInput when PostgreSQL could not store a text in the path or query."""
    _check_storable([request.path, *request.args.values()])


def parse(model: type[Model]) -> Model:
    """The JSON object of the request as `model`; unknown members are ignored.

    Raises InvalidInput that names the first wrong member, BadRequest when the body is not JSON.
    """
    body = json_body()
    if not isinstance(body, dict):
        raise InvalidInput("The request body must be a JSON object.")
    return validated(model, body)


def parse_query(model: type[Model], *, keeps_empty: bool = False) -> Model:
    """The query string as `model`. Raises InvalidInput that names the wrong member.

    Empty values count as absent, unless `keeps_empty`.
    """
    return validated(model, {name: value for name, value in request.args.items() if value or keeps_empty})


def validated(model: type[Model], values: dict[str, Any]) -> Model:
    """The values as `model`. Raises InvalidInput that names the first wrong member."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Not chained: the cause contains the values, which may be secrets.
        raise InvalidInput(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    member = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{member}: is missing"
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message[0].lower() + message[1:]
    return f"{member}: {message}" if member else message


def _check_storable(value: Any, levels: int = _MAX_LEVELS) -> None:
    if not levels:
        raise InvalidInput(f"Lists and objects must not be nested more than {_MAX_LEVELS} levels deep.")
    match value:
        case str():
            if "\0" in value:
                raise InvalidInput("Text must not contain NUL characters.")
            value.encode()  # Raises ValueError for a lone surrogate.
        case dict():
            for name, item in value.items():
                _check_storable(name)
                _check_storable(item, levels - 1)
        case list():
            for item in value:
                _check_storable(item, levels - 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
