"""What the code of a view says about its requests and answers: models of input, statuses, content types.

Found in the compiled code of the view, and of the functions of this package that it calls by a global name. So the
description of the API can only name the models that validate: there is no second list that could differ from them.
"""

import dis
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

import flask
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from netstacks.errors import Conflict, DeviceError, Forbidden, NotFound
from netstacks.web.http import inputs

SUCCESSES = frozenset({200, 201, 202, 204})
_STATUSES = SUCCESSES | {400, 401, 409, 429, 499, 501, 502, 503, 504}
_ERRORS = {Conflict: 409, DeviceError: 502, Forbidden: 403, NotFound: 404}
_CONTENT_TYPES = frozenset({"application/x-asciicast", "application/x-ndjson", "text/csv", "text/event-stream"})
# The packages whose functions belong to a view.
_FOLLOWED = ("netstacks.web.api.", "netstacks.web.auth.")


@dataclass
class Facts:
    """`statuses` are those of the code itself: the ones of errors that every view may raise are not among them."""

    bodies: list[type[BaseModel]] = field(default_factory=list)
    queries: list[type[BaseModel]] = field(default_factory=list)
    arguments: set[str] = field(default_factory=set)
    """Members of the query string that the view reads by itself."""
    statuses: set[int] = field(default_factory=set)
    content_types: set[str] = field(default_factory=set)
    """Those of answers that are not JSON."""
    takes_json: bool = False
    takes_file: bool = False


def facts_of(*functions: Callable[..., Any]) -> Facts:
    """The facts of a view, and of the error handlers that answer for it."""
    facts, seen = Facts(), set[CodeType]()
    for function in functions:
        _add(facts, function, seen)
    return facts


def _add(facts: Facts, function: Callable[..., Any], seen: set[CodeType]) -> None:
    found = inspect.unwrap(function)
    if not isinstance(found, FunctionType) or found.__code__ in seen:
        return
    seen.add(found.__code__)
    for code in _codes(found.__code__):
        for value in _values(code.co_consts):
            if type(value) is int and value in _STATUSES:
                facts.statuses.add(value)
            elif isinstance(value, str) and value in _CONTENT_TYPES:
                facts.content_types.add(value)
        _add_names(facts, list(dis.get_instructions(code)), found.__globals__, seen)


def _add_names(facts: Facts, steps: list[dis.Instruction], names: dict[str, Any], seen: set[CodeType]) -> None:
    for at, step in enumerate(steps):
        if step.opname != "LOAD_GLOBAL":
            continue
        value, rest = names.get(step.argval), steps[at + 1 :]
        if isinstance(value, ModuleType) and rest:
            value = vars(value).get(rest[0].argval) if isinstance(rest[0].argval, str) else None
        if value is inputs.parse:
            facts.bodies.append(names[rest[0].argval])
        elif value is inputs.parse_query:
            facts.queries.append(names[rest[0].argval])
        elif value is inputs.json_body:
            facts.takes_json = True
        elif value is flask.request:
            _add_request(facts, rest)
        elif value is flask.redirect:
            facts.statuses.add(302)
        elif isinstance(value, type):
            _add_error(facts, value)
        elif isinstance(value, FunctionType) and value.__module__.startswith(_FOLLOWED):
            _add(facts, value, seen)


def _add_request(facts: Facts, rest: list[dis.Instruction]) -> None:
    """`request.args.get("name")`, `request.args["name"]` and `request.get_data()`."""
    if rest[0].argval == "get_data":
        facts.takes_file = True
    if rest[0].argval == "args":
        name = rest[2] if rest[1].argval == "get" else rest[1]
        if name.opname == "LOAD_CONST" and isinstance(name.argval, str):
            facts.arguments.add(name.argval)


def _add_error(facts: Facts, kind: type) -> None:
    facts.statuses |= {status for error, status in _ERRORS.items() if issubclass(kind, error)}
    if issubclass(kind, HTTPException) and kind.code in _STATUSES:
        facts.statuses.add(kind.code)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code and that of the functions and comprehensions in it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _codes(value)


def _values(constants: Any) -> Iterator[Any]:
    for value in constants:
        if isinstance(value, (tuple, frozenset)):
            yield from _values(value)
        else:
            yield value
