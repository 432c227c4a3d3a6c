"""`/terminal/`: the NetStacks Terminal web client, if TERMINAL_WEB_DIR has its build (docs/protocol.md, 1)."""

from flask import Blueprint, Response, redirect, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from netstacks.web.context import services

blueprint = Blueprint("client", __name__)

_YEAR_SECS = 365 * 24 * 3600


@blueprint.get("/terminal")
def without_slash() -> AnyResponse:
    return redirect("/terminal/")


@blueprint.get("/terminal/")
@blueprint.get("/terminal/<path:name>")
def file(name: str = "index.html") -> Response:
    """Files under `assets/` have a content hash in their names and are cached for a year; others are revalidated."""
    folder = services().settings.terminal_web_dir
    if folder is None:
        raise NotFound("The NetStacks Terminal web client is not installed here. Set TERMINAL_WEB_DIR to its build.")
    is_asset = name.startswith("assets/")
    response = send_from_directory(folder.resolve(), name, max_age=_YEAR_SECS if is_asset else None)
    if is_asset:
        response.cache_control.immutable = True
    else:
        response.cache_control.no_cache = True
    return response
