"""`/terminal/`: the NetStacks Terminal web client, if TERMINAL_WEB_DIR has its build (docs/protocol.md, 1)."""

import mimetypes
from pathlib import Path

from flask import Blueprint, Response, redirect, request, send_file, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join
from werkzeug.wrappers import Response as AnyResponse

from netstacks.web.context import services
from netstacks.web.pages.compressed_files import CompressedFiles

blueprint = Blueprint("client", __name__)

_YEAR_SECS = 365 * 24 * 3600
_compressed = CompressedFiles()


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
    max_age = _YEAR_SECS if is_asset else None
    response = _encoded(folder.resolve(), name, max_age) or send_from_directory(folder.resolve(), name, max_age=max_age)
    response.vary.add("Accept-Encoding")
    if is_asset:
        response.cache_control.immutable = True
    else:
        response.cache_control.no_cache = True
    return response


def _encoded(folder: Path, name: str, max_age: int | None) -> Response | None:
    """The file in a compressed form that the client accepts; None when it has none, or does not exist."""
    path = safe_join(str(folder), name)
    found = _compressed.find(Path(path), request.accept_encodings) if path is not None else None
    if found is None:
        return None
    encoding, content = found
    mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if isinstance(content, Path):
        response = send_file(content, mimetype=mimetype, max_age=max_age)
    else:
        response = Response(content, mimetype=mimetype)
        if max_age is not None:
            response.cache_control.max_age = max_age
            response.cache_control.public = True
        response.add_etag()
        response.make_conditional(request)
    response.content_encoding = encoding
    return response
