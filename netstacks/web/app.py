"""The Flask application: its blueprints, its error answers and its security headers."""

import uuid
from pathlib import Path

import structlog
from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from netstacks import errors
from netstacks.web import peer, public_listener
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
from netstacks.web.http import csp, inputs
from netstacks.web.http.proxies import TrustedProxies
from netstacks.web.jumpbox import endpoint as jumpbox
from netstacks.web.listener.client_socket import BODY_BYTES, BODY_SECS
from netstacks.web.pages import pages, terminal_client_build
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

# Where the composition root finds the waiting room, which must be started, and closed at a drain.
WAITING_ROOM = "netstacks.waiting_room"
_ROOT = Path(__file__).resolve().parents[2]

# The status of each of our errors; 401 is kept for "the access token is no longer good" (wire contract, rule 4).
_STATUS: dict[type[errors.NetstacksError], int] = {
    errors.MalformedClaims: 400,
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.SessionGone: 404,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.ComeAgain: 503,
    errors.StoreUnavailable: 503,
    errors.RegistryUnavailable: 503,
    errors.VaultLocked: 503,
    errors.DeviceError: 502,
}


def create_app(services: Services) -> Flask:
    """Builds the application around the running parts of this instance."""
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
        response = Response(render_template("error.html", status=status, message=message))
    response.status_code = status
    response.headers.update(headers or {})
    return response


def _our_error(error: errors.NetstacksError) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    log.info("request.refused", path=request.path, status=status, error=str(error))
    return _answer(status, str(error), {"Retry-After": "2"} if status == 503 else None)


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    if isinstance(error, ClientDisconnected):
        return _answer(408, f"the request's body did not come in full: it must come within {BODY_SECS:.0f} seconds")
    headers = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    if error.code == 401:
        # By hand: werkzeug's own object for it leaves a reference cycle.
        headers["WWW-Authenticate"] = "Bearer"
    if error is request.routing_exception:
        # It refers to the request that refers to it, by its traceback.
        error.__traceback__ = error.__context__ = None
    return _answer(error.code or 500, error.description or error.name, headers)


def _unexpected(error: Exception) -> Response:
    log.exception("request.failed", path=request.path, method=request.method)
    return _answer(500, f"an unexpected error, logged as request {g.get('request_id')}")
