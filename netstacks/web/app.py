"""The Flask application: blueprints, error responses and security headers."""

import uuid
from functools import partial

import structlog
from flask import Flask, Response, g, jsonify, render_template, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, NotFound

from netstacks import errors, resources, tracing
from netstacks.store.setting_definitions import SECOND_FACTOR
from netstacks.web import admin, pages, peer, public_listener
from netstacks.web.admin.api import install as install_api
from netstacks.web.admin.local_api import LocalApi
from netstacks.web.admission.handing_on import QUEUED_AT
from netstacks.web.admission.waiting_room import WaitingRoom
from netstacks.web.api import (
    account,
    ai,
    audit,
    audit_filters,
    audit_log,
    audit_targets,
    capabilities,
    client_items,
    compat,
    credentials,
    definitions,
    device_bulk,
    device_check,
    device_import,
    device_list,
    device_undo,
    devices,
    folders,
    ha,
    ha_actions,
    host_key_list,
    hostkeys,
    identity_links,
    identity_providers,
    license,
    llm_providers,
    login,
    login_steps,
    me,
    openapi,
    recordings,
    replays,
    roles,
    sanitization,
    second_factors,
    sessions,
    shared_credentials,
    shares,
    ssh_execute,
    sso,
    summaries,
    system_settings,
    user_access,
    user_settings,
    users,
)
from netstacks.web.auth import enforcement, guard
from netstacks.web.auth.parts import AuthParts
from netstacks.web.context import Services
from netstacks.web.health import HealthEndpoint
from netstacks.web.http import csp, inputs, outputs
from netstacks.web.http.proxies import TrustedProxies
from netstacks.web.jumpbox import endpoint as jumpbox
from netstacks.web.listener.client_socket import BODY_BYTES, BODY_INCOMPLETE
from netstacks.web.metrics.collector import InstanceCollector
from netstacks.web.metrics.endpoint import MetricsEndpoint
from netstacks.web.pages import terminal_client_build
from netstacks.web.viewers import shared
from netstacks.web.ws import check, terminal

log = structlog.get_logger()

_BLUEPRINTS = (
    account,
    admin,
    ai,
    audit,
    audit_filters,
    audit_log,
    audit_targets,
    capabilities,
    check,
    client_items,
    terminal_client_build,
    compat,
    credentials,
    definitions,
    device_bulk,
    device_check,
    device_import,
    device_list,
    device_undo,
    devices,
    folders,
    ha,
    ha_actions,
    host_key_list,
    hostkeys,
    identity_links,
    identity_providers,
    jumpbox,
    license,
    llm_providers,
    login,
    login_steps,
    me,
    openapi,
    pages,
    peer,
    recordings,
    replays,
    roles,
    sanitization,
    second_factors,
    sessions,
    shared_credentials,
    shared,
    shares,
    ssh_execute,
    sso,
    summaries,
    system_settings,
    terminal,
    user_access,
    user_settings,
    users,
)

# The key of the waiting room in the application's extensions: the composition root starts it and closes it at a drain.
WAITING_ROOM = "netstacks.waiting_room"

# Any other method is an attacker's text, which must not name a span.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

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
    root = resources.folder()
    app = Flask("netstacks", template_folder=str(root / "templates"), static_folder=str(root / "static"))
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
    metrics_token = services.settings.metrics_token
    app.wsgi_app = MetricsEndpoint(app.wsgi_app, InstanceCollector(services), metrics_token)  # type: ignore[method-assign]

    app.before_request(partial(_begin, auth))
    app.before_request(inputs.check_address)
    peer.init_app(app)
    guard.init_app(app, auth)
    app.before_request(enforcement.check)
    install_api(app, LocalApi())
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
        vault=services.vault,
        tokens=services.tokens,
        login_states=services.login_states,
        withdrawals=services.withdrawals,
        allowed_origins=settings.allowed_origins,
        login_max_days=settings.login_max_days,
        failed_logins_per_hour=settings.audit_failed_logins_per_hour,
        lockout=services.system_settings.lockout,
        second_factor_policy=lambda: services.system_settings.get(SECOND_FACTOR),
    )


def _begin(auth: AuthParts) -> None:
    g.request_id = uuid.uuid4().hex[:12]
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    queued_at_ns = request.environ.get(QUEUED_AT)
    g.span = tracing.begin_request(
        request.headers.get("traceparent"),
        request.headers.get("tracestate"),
        is_trusted=_is_trace_trusted(auth),
        # The checks between instances, every few seconds, belong to no trace.
        may_begin_trace=not request.path.startswith("/peer/"),
        began_ns=queued_at_ns,
    )
    if queued_at_ns is not None:
        tracing.begin("admission.wait", began_ns=queued_at_ns).end()


def _is_trace_trusted(auth: AuthParts) -> bool:
    """Whether the trace of the caller continues here: those of peers and of logged-in users do.

    A stranger must not decide what is recorded, nor which ids are sent to the providers of language models.
    """
    is_ours = "traceparent" not in request.headers or peer.is_private()
    return is_ours or guard.signed_subject(request.environ, auth) is not None


def _finish(response: Response) -> Response:
    csp.protect(response)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    span: tracing.Span | None = g.get("span")
    if span is not None and span.is_recorded:
        _end_span(span, response)
    return response


def _end_span(span: tracing.Span, response: Response) -> None:
    """Describes the request by its route, whose template has no ids, and ends the span with the response."""
    method = request.method if request.method in _METHODS else "_OTHER"
    route = request.url_rule.rule if request.url_rule is not None else ""
    span.rename(f"{'HTTP' if method == '_OTHER' else method} {route}".rstrip())
    span.set("http.request.method", method)
    if route:
        span.set("http.route", route)
    span.set("url.scheme", request.scheme)
    span.set("http.response.status_code", response.status_code)
    span.set("netstacks.request_id", g.request_id)
    if response.status_code >= 500:
        span.fail(str(response.status_code))
    # A file and the answer to HEAD are not closed through the response.
    if response.is_streamed and not response.direct_passthrough and method != "HEAD":
        response.call_on_close(span.end)
    else:
        span.end()


def _answer(status: int, message: str, headers: dict[str, str] | None = None, **members: str) -> Response:
    if request.path.startswith(("/api/", "/ws/", "/peer/", "/health", "/admin/ha/stream")):
        response = jsonify(error=message, **members)
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
    members = {"code": error.api_code} if error.api_code else {}
    return _answer(status, message, {"Retry-After": "2"} if status == 503 else None, **members)


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    if isinstance(error, ClientDisconnected):
        return _answer(408, BODY_INCOMPLETE)
    headers = {name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")}
    if error.code == 401:
        # Not through werkzeug's WWWAuthenticate object: it leaves a reference cycle.
        headers["WWW-Authenticate"] = "Bearer"
    if error is request.routing_exception:
        # Breaks a reference cycle: the traceback refers to the request, and the request to this exception.
        error.__traceback__ = error.__context__ = None
    text = "There is nothing at this address." if error.description == NotFound.description else error.description
    return _answer(error.code or 500, text or error.name, headers)


def _unexpected(error: Exception) -> Response:
    log.exception("request.failed", path=request.path, method=request.method)
    return _answer(500, f"An unexpected error occurred. The log has it as request {g.get('request_id')}.")
