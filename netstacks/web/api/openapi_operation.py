"""One operation of the OpenAPI document: what a view takes and how it answers."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NoReturn

from netstacks.web.api.openapi_schemas import Schemas, query_parameters
from netstacks.web.auth import guard
from netstacks.web.http.declarations import declared

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
    408: "The body did not arrive in time.",
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
# The schemas of bodies without a model, by content type.
_FREE_BODIES: dict[str, dict[str, Any]] = {"application/json": {}, "text/csv": {"type": "string"}}
# A reference to the source of the contract, which readers of the document do not have.
_SECTION = re.compile(r" \(docs/[^)]*\)")


def operation(
    view: Callable[..., Any], method: str, path_parameters: list[dict[str, Any]], schemas: Schemas
) -> dict[str, Any]:
    """The operation of `view` for `method`."""
    summary, description = words(view)
    found: dict[str, Any] = {"summary": summary}
    if permission := guard.permission_of(view):
        description = f"{description}\n\nRequires the permission `{permission}`.".strip()
        found["x-permission"] = permission
    if description:
        found["description"] = description
    found["parameters"] = [*path_parameters, *_query(view)]
    if body := _body(view, schemas):
        found["requestBody"] = {"required": True, "content": body}
    found["security"] = _security(view, method)
    found["responses"] = {
        str(status): _success(view, status, schemas) if status < 400 else _error(view, status, schemas)
        for status in sorted(statuses(view, method, path_parameters))
    }
    return found


def statuses(view: Callable[..., Any], method: str, path_parameters: list[dict[str, Any]]) -> set[int]:
    """Those that `view` may answer with: what it declares, and what follows from the kind of the view."""
    its = declared(view)
    found = set(its.statuses)
    refuses_all = inspect.unwrap(view).__annotations__.get("return") is NoReturn or 501 in found
    if not refuses_all and not any(each < 400 for each in found):
        found.add(200)
    # NUL in a path or query is invalid everywhere, and every view may find its services unavailable.
    found |= {422, 503}
    if its.body or its.body_type:
        found |= {400, 404, 408, 413}  # The body may name another object.
    if guard.requires_login(view):
        found |= {401, 403}
    if path_parameters:
        found |= {404, 405}
    if path_parameters or its.query:
        found.add(414)
    if method not in _SAFE_METHODS:
        found.add(409)
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


def _query(view: Callable[..., Any]) -> list[dict[str, Any]]:
    query = declared(view).query
    return [] if query is None else list(query_parameters(query))


def _body(view: Callable[..., Any], schemas: Schemas) -> dict[str, Any]:
    its = declared(view)
    if its.body:
        return {"application/json": {"schema": schemas.of(its.body)}}
    return {its.body_type: {"schema": _FREE_BODIES[its.body_type]}} if its.body_type else {}


def _security(view: Callable[..., Any], method: str) -> list[dict[str, list[str]]]:
    if not guard.requires_login(view):
        return []
    page: dict[str, list[str]] = {"page": []}
    return [{"bearer": []}, page if method in _SAFE_METHODS else page | {"csrf": []}]


def _success(view: Callable[..., Any], status: int, schemas: Schemas) -> dict[str, Any]:
    if status in (204, 302):
        return {"description": REASONS[status]}
    schema = schemas.of_answer(view)
    content = {} if schema is None else {"application/json": {"schema": schema}}
    content |= {each: {"schema": {}} for each in sorted(declared(view).content_types)}
    return {"description": REASONS[status], "content": content}


def _error(view: Callable[..., Any], status: int, schemas: Schemas) -> dict[str, Any]:
    if status == 414:  # The server answers it before there is a request.
        return {"description": REASONS[status], "content": {"text/html": {}}}
    content = {"application/json": {"schema": schemas.of_error(view, status)}}
    return {"description": REASONS[status], "content": content}
