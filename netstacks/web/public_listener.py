"""The public listener of a controller: separate limits for logged-in users and for unknown clients."""

from flask import Flask, Response, g, request

from netstacks.web.auth import guard
from netstacks.web.listener import limited_worker


def init_app(app: Flask) -> None:
    """Marks connections of logged-in users, and refuses requests of unknown clients beyond their limit."""
    app.before_request(_refuse_surplus)
    app.after_request(_recognise)


def _refuse_surplus() -> None:
    limited_worker.refuse_surplus(request.environ, lambda: guard.identify() is not None)


def _recognise(response: Response) -> Response:
    if g.get("identity") is not None:
        limited_worker.recognise(request.environ)
    return response
