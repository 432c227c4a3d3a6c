"""The description of the JSON API, for programs and for the page API."""

import json
from typing import Annotated, Any

from flask import Blueprint, Flask, current_app
from pydantic import WithJsonSchema

from netstacks import greenlets
from netstacks.web.auth import guard
from netstacks.web.http.json_response import JsonResponse

blueprint = Blueprint("openapi", __name__)

OpenApi = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "additionalProperties": True, "description": "A document of OpenAPI 3.1."}),
]

_EXTENSION = "netstacks.openapi"


@blueprint.get("/api/v1/openapi.json")
@guard.requires()
def show_document() -> JsonResponse[OpenApi]:
    """This description, in the form of OpenAPI 3.1."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return JsonResponse(_body(app))


def _body(app: Flask) -> str:
    """The document as text, made at the first request: few instances are ever asked for it."""
    if _EXTENSION not in app.extensions:
        # In a thread: it takes about a second, in which the terminals of the instance go on.
        app.extensions[_EXTENSION] = greenlets.in_thread(_made, app)
    body: str = app.extensions[_EXTENSION]
    return body


def _made(app: Flask) -> str:
    # Imported here: the start of an instance does not wait for it.
    from netstacks.web.api.openapi_document import document

    return json.dumps(document(app), ensure_ascii=False)
