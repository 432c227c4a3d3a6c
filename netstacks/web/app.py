"""The Flask application: blueprints, error responses and security headers."""

import uuid
from pathlib import Path

import structlog
from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from netstacks import errors
from netstacks.web import pages, peer, public_listener
from netstacks.web.admission.waiting_room import WaitingRoom
from netstacks.web.api import (
    ai,
    audit,
    capabilities,
    compat,
    credentials,
    definitions,
    devices,
    folders,
    ha,
    hostkeys,
    license,
    llm_providers,
    login,
    recordings,
    sanitization,
    sessions,
    shares,
    ssh_execute,
    summaries,
    user_settings,
    users,
)
from netstacks.web.auth import guard
from netstacks.web.auth.parts import AuthParts
from netstacks.web.context import Services
from netstacks.web.health import HealthEndpoint
from netstacks.web.http import csp, inputs, outputs
from netstacks.web.http.proxies import TrustedProxies
from netstacks.web.jumpbox import endpoint as jumpbox
from netstacks.web.listener.client_socket import BODY_BYTES, BODY_SECS
from netstacks.web.pages import terminal_client_build
from netstacks.web.viewers import shared
from netstacks.web.ws import terminal

log = structlog.get_logger()

_BLUEPRINTS = (
    ai,
    audit,
    capabilities,
    terminal_client_build,
    compat,
    credentials,
    definitions,
    devices,
    folders,
    ha,
    hostkeys,
    jumpbox,
    license,
    llm_providers,
    login,
    pages,
    peer,
    recordings,
    sanitization,
    sessions,
    shared,
    shares,
    ssh_execute,
    summaries,
    terminal,
    user_settings,
    users,
)

# The key of the waiting room in the application's extensions: the composition root starts it and closes it at a drain.
WAITING_ROOM = "netstacks.waiting_room"
_ROOT = Path(__file__).resolve().parents[2]

# The HTTP status of each error. 401 is reserved for an invalid access token (docs/protocol.md, rule 4).
_STATUS: dict[type[errors.NetstacksError], int] = {
    errors.MalformedClaims: 400,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.SessionGone: 404,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.RetryLater: 503,
    errors.StoreUnavailable: 503,
    errors.RegistryUnavailable: 503,
    errors.VaultLocked: 503,
    errors.DeviceError: 502,
}


def create_app(services: Services) -> Flask:
    """Builds the application for the services of this instance."""
    app = Flask("netstacks", template_folder=str(_ROOT / "templates"), static_folder=str(_ROOT / "static"))
    app.extensions["netstacks"] = services
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    auth = _auth_parts(services)
    waiting_room = WaitingRoom(app.wsgi_app, services, auth)
    app.extensions[WAITING_ROOM] = waiting_room
    app.wsgi_app = waiting_room  # type: ignore[method-assign]
    if services.settings.trusted_proxies:
        app.wsgi_app = TrustedProxies(app.wsgi_app, services.settings.trusted_proxies)  # type: ignore[method-assign]
    app.wsgi_app = HealthEndpoint(app.wsgi_app, services.health)  # type: ignore[method-assign]

    app.before_request(_begin)
    app.before_request(inputs.check_address)
    peer.init_app(app)
    guard.init_app(app, auth)
    public_listener.init_app(app)
    for module in _BLUEPRINTS:
        app.register_blueprint(module.blueprint)
    app.after_request(_finish)
    app.register_error_handler(errors.NetstacksError, _our_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def _auth_parts(services: Services) -> AuthParts:
    settings = services.settings
    return AuthParts(
        database=services.database,
        tokens=services.tokens,
        login_states=services.login_states,
        withdrawals=services.withdrawals,
        allowed_origins=settings.allowed_origins,
        login_max_days=settings.login_max_days,
        failed_logins_per_hour=settings.audit_failed_logins_per_hour,
    )


def _begin() -> None:
    g.request_id = uuid.uuid4().hex[:12]
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _finish(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", csp.POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers["X-Request-Id"] = g.get("request_id", "")
    if not request.path.startswith(("/static/", "/terminal/")):
        headers.setdefault("Cache-Control", "no-store")
    return response


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    if request.path.startswith(("/api/", "/ws/", "/peer/", "/health")):
        response = jsonify(error=message)
    else:
        response = Response(render_template("error.html", status=status, message=outputs.as_sentence(message)))
    response.status_code = status
    response.headers.update(headers or {})
    return response


def _our_error(error: errors.NetstacksError) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    log.info("request.refused", path=request.path, status=status, error=str(error))
    # A peer puts the text into one of its own. That of a DeviceError may begin with the name of a device.
    is_part = request.path.startswith("/peer/") or isinstance(error, errors.DeviceError)
    message = str(error) if is_part else outputs.as_sentence(str(error))
    return _answer(status, message, {"Retry-After": "2"} if status == 503 else None)


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    if isinstance(error, ClientDisconnected):
        return _answer(408, f"The request's body is incomplete. It must arrive within {BODY_SECS:.0f} seconds.")
    headers = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    if error.code == 401:
        # Not through werkzeug's WWWAuthenticate object: it leaves a reference cycle.
        headers["WWW-Authenticate"] = "Bearer"
    if error is request.routing_exception:
        # Breaks a reference cycle: the traceback refers to the request, and the request to this exception.
        error.__traceback__ = error.__context__ = None
    return _answer(error.code or 500, error.description or error.name, headers)


def _unexpected(error: Exception) -> Response:
    log.exception("request.failed", path=request.path, method=request.method)
    return _answer(500, f"An unexpected error occurred. The log has it as request {g.get('request_id')}.")
