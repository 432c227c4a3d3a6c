"""The API of the application that serves the page."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from flask import current_app, request


class LocalApi:
    """Calls a view of this application as the user of the current request. Errors of the view are raised unchanged."""

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        environ = {name: value for name, value in request.environ.items() if not name.startswith("werkzeug.")}
        environ |= {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "QUERY_STRING": urlencode(given, doseq=True),
            "CONTENT_LENGTH": "0",
            "wsgi.input": BytesIO(),
        }
        with current_app.request_context(environ):
            return current_app.make_response(current_app.dispatch_request()).get_json()
