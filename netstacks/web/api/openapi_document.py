"""The description of the JSON API in the form of OpenAPI 3.1, made from the routes, their views and their models.

WebSockets and the contract between instances are not in it: docs/protocol.md has them.
"""

import re
from typing import Any

from flask import Flask
from werkzeug.routing import Rule

from netstacks import __version__
from netstacks.web.api import openapi_health
from netstacks.web.api.openapi_operation import operation
from netstacks.web.api.openapi_paths import Paths, paths_of
from netstacks.web.api.openapi_schemas import Schemas
from netstacks.web.api.view_answers import answer_of, refusals_of
from netstacks.web.auth import page_cookie
from netstacks.web.http.declarations import declared

# They refuse what NetStacks Terminal requests and this controller does not offer: 404, or 501 for a change.
LEFT_OUT = frozenset({"compat.not_offered", "compat.not_offered_below"})
_DESCRIPTION = (
    'The JSON API of a NetStacks controller. An error is answered with `{"error": "a sentence"}`. Unknown members of a'
    " body are ignored, and so is its content type. WebSockets are described in docs/protocol.md."
)
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The access token of a log-in."},
    "page": {"type": "apiKey", "in": "cookie", "name": page_cookie.COOKIE, "description": "The cookie of a page."},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token", "description": "For changes with the cookie."},
}


def document(app: Flask) -> dict[str, Any]:
    """The whole document, for the routes of `app` under /api/."""
    rules = sorted((rule for rule in app.url_map.iter_rules() if is_described(rule)), key=lambda rule: rule.rule)
    views = [app.view_functions[rule.endpoint] for rule in rules]
    schemas = Schemas(
        bodies=[model for view in views if (model := declared(view).body)],
        answers={view: answer_of(view) for view in views} | openapi_health.ANSWERS,
        refusals={(view, status): kind for view in views for status, kind in refusals_of(view).items()},
    )
    paths = Paths()
    for rule in rules:
        for template, parameters in paths_of(rule):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                found = operation(app.view_functions[rule.endpoint], method, parameters, schemas)
                paths.add(template, method, {"operationId": _id(method, template), "tags": [_tag(rule)], **found})
    for template, found in openapi_health.operations(schemas):
        paths.add(template, "GET", {"operationId": _id("GET", template), "tags": [openapi_health.TAG], **found})
    return {
        "openapi": "3.1.0",
        "info": {"title": "NetStacks Controller", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in sorted({_tag(rule) for rule in rules} | {openapi_health.TAG})],
        "paths": paths.items,
        "components": {"schemas": schemas.components, "securitySchemes": _SECURITY},
    }


def is_described(rule: Rule) -> bool:
    return rule.rule.startswith("/api/") and rule.endpoint not in LEFT_OUT


def _id(method: str, template: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", template)])


def _tag(rule: Rule) -> str:
    module: str = rule.endpoint.partition(".")[0]
    return module.replace("_", " ")
