"""What clients send, checked once at the door: JSON bodies and query strings as pydantic models."""

import json
from typing import Any, NoReturn, TypeVar

from flask import g, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import BadRequest

from netstacks.errors import InvalidInput

# What is nested much deeper could be read and not be written again.
_MOST_LEVELS = 100
# Of a user who is not logged in; others may send what the application takes at most (MAX_CONTENT_LENGTH). A body is in
# memory while it is waited for, and strangers can make a worker wait for thousands.
_STRANGERS_BYTES = 64 * 1024

Model = TypeVar("Model", bound=BaseModel)


def json_body() -> Any:
    """The request's JSON value, whatever its content type says.

    Raises BadRequest (400) when it is no JSON, InvalidInput (422) when PostgreSQL could not store it.
    """
    if g.get("identity") is None:
        request.max_content_length = _STRANGERS_BYTES
    try:
        body = json.loads(request.get_data(), parse_constant=_refuse_constant)
        _check_storable(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("the request body must be valid JSON") from error
    return body


def check_address() -> None:
    """Before every request: raises InvalidInput when PostgreSQL could not store a text in the path or the query."""
    _check_storable([request.path, *request.args.values()])


def parse(model: type[Model]) -> Model:
    """The JSON object of the request as `model`; members it does not know are ignored.

    Raises InvalidInput naming the first wrong member, BadRequest when the body is no JSON.
    """
    body = json_body()
    if not isinstance(body, dict):
        raise InvalidInput("the request body must be a JSON object")
    return _validated(model, body)


def parse_query(model: type[Model]) -> Model:
    """The query string as `model`, an empty value counting as absent; raises InvalidInput naming the wrong one."""
    return _validated(model, {name: value for name, value in request.args.items() if value})


def _validated(model: type[Model], values: dict[str, Any]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Not chained: the cause shows the values, and one may be a secret.
        raise InvalidInput(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    member = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{member}: is missing"
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = message[0].lower() + message[1:]
    return f"{member}: {message}" if member else message


def _check_storable(value: Any, levels: int = _MOST_LEVELS) -> None:
    if not levels:
        raise InvalidInput(f"lists and objects must not be nested more than {_MOST_LEVELS} deep")
    match value:
        case str():
            if "\0" in value:
                raise InvalidInput("text must not contain NUL characters")
            value.encode()  # Raises ValueError for half of a surrogate pair.
        case dict():
            for name, item in value.items():
                _check_storable(name)
                _check_storable(item, levels - 1)
        case list():
            for item in value:
                _check_storable(item, levels - 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
