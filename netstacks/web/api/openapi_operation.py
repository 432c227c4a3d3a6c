"""One operation of the OpenAPI document: what a view takes and how it answers."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NoReturn

from netstacks.web.api.openapi_schemas import Schemas, query_parameters
from netstacks.web.api.view_facts import SUCCESSES, Facts
from netstacks.web.auth import guard

REASONS = {
    200: "Success.",
    201: "It was created.",
    202: "Accepted: it takes effect a moment later.",
    204: "Success, without a body.",
    302: "The browser goes on at another address.",
    400: "The body is not JSON, or the request makes no sense.",
    401: "There is no valid log-in.",
    403: "The permission is missing, or the CSRF token is.",
    404: "There is no such object, or the user must not see it.",
    405: "An id in the path is none, and another route that takes any text there does not take this method.",
    409: "It conflicts with what is stored, or a limit is reached.",
    413: "The body is too large.",
    414: "The address is too long.",
    422: "A value is invalid; the sentence names it.",
    429: "Too many requests; Retry-After says in how many seconds to try again.",
    499: "The call was cancelled.",
    501: "This controller does not offer it.",
    502: "A device or another server has failed.",
    503: "A service that the controller needs does not answer; Retry-After says in how many seconds to try again.",
    504: "Another server did not answer in time.",
}
_SAFE_METHODS = ("GET",)
# A reference to the source of the contract, which readers of the document do not have.
_SECTION = re.compile(r" \(docs/[^)]*\)")


def operation(
    view: Callable[..., Any], method: str, parameters: list[dict[str, Any]], facts: Facts, schemas: Schemas
) -> dict[str, Any]:
    """The operation of `view` for `method`; `parameters` are those of the path."""
    summary, description = words(view)
    found: dict[str, Any] = {"summary": summary}
    if permission := guard.permission_of(view):
        description = f"{description}\n\nRequires the permission `{permission}`.".strip()
        found["x-permission"] = permission
    if description:
        found["description"] = description
    found["parameters"] = [*parameters, *_query(facts)]
    if body := _body(facts, schemas):
        found["requestBody"] = {"required": True, "content": body}
    found["security"] = _security(view, method)
    found["responses"] = _responses(view, method, found, facts, schemas)
    return found


def words(view: Callable[..., Any]) -> tuple[str, str]:
    """The first sentence of the docstring, and the others; without one, the name of the view in words."""
    text = _SECTION.sub("", inspect.cleandoc(view.__doc__ or ""))
    if not text:
        words = view.__name__.strip("_").replace("_", " ").capitalize()
        return (words if " " in words else f"{words}: {view.__module__.rpartition('.')[2].replace('_', ' ')}"), ""
    first = text.replace("\n", " ").partition(". ")[0]
    paragraphs = [each.replace("\n", " ") for each in text.split("\n\n")]
    rest = "\n\n".join(paragraphs)[len(first) + 1 :].strip()
    return first.removesuffix("."), rest


def _query(facts: Facts) -> list[dict[str, Any]]:
    modelled = [each for model in facts.queries for each in query_parameters(model)]
    own = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in sorted(facts.arguments)
    ]
    return modelled + own


def _body(facts: Facts, schemas: Schemas) -> dict[str, Any]:
    if facts.bodies:
        return {"application/json": {"schema": schemas.of(facts.bodies[0])}}
    if facts.takes_json:
        return {"application/json": {"schema": {}}}
    return {"text/csv": {"schema": {"type": "string"}}} if facts.takes_file else {}


def _security(view: Callable[..., Any], method: str) -> list[dict[str, list[str]]]:
    if not guard.requires_login(view):
        return []
    page: dict[str, list[str]] = {"page": []}
    return [{"bearer": []}, page if method in _SAFE_METHODS else page | {"csrf": []}]


def _responses(
    view: Callable[..., Any], method: str, found: dict[str, Any], facts: Facts, schemas: Schemas
) -> dict[str, Any]:
    responses = {str(status): _success(view, status, facts, schemas) for status in sorted(_successes(view, facts))}
    # NUL in a path or query is invalid everywhere, and every view may find its services unavailable.
    errors = (facts.statuses - SUCCESSES - {302}) | {422, 503}
    if "requestBody" in found:
        errors |= {400, 404, 413}  # The body may name another object.
    if guard.requires_login(view):
        errors |= {401, 403}
    if any(each["in"] == "path" for each in found["parameters"]):
        errors |= {404, 405}
    if found["parameters"]:
        errors.add(414)
    if method not in _SAFE_METHODS:
        errors.add(409)
    return responses | {str(status): _error(view, status, schemas) for status in sorted(errors)}


def _successes(view: Callable[..., Any], facts: Facts) -> set[int]:
    if inspect.unwrap(view).__annotations__.get("return") is NoReturn or 501 in facts.statuses:
        return set()
    return facts.statuses & (SUCCESSES | {302}) or {200}


def _success(view: Callable[..., Any], status: int, facts: Facts, schemas: Schemas) -> dict[str, Any]:
    if status in (204, 302):
        return {"description": REASONS[status]}
    schema = schemas.of_answer(view)
    content = {} if schema is None else {"application/json": {"schema": schema}}
    content |= {each: {"schema": {}} for each in sorted(facts.content_types)}
    return {"description": REASONS[status], "content": content}


def _error(view: Callable[..., Any], status: int, schemas: Schemas) -> dict[str, Any]:
    if status == 414:  # The server answers it before there is a request.
        return {"description": REASONS[status], "content": {"text/html": {}}}
    content = {"application/json": {"schema": schemas.of_error(view, status)}}
    return {"description": REASONS[status], "content": content}
