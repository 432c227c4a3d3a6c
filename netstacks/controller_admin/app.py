"""The Flask application of a controller-admin: the pages of administration on the API of a controller."""

import uuid

import structlog
from flask import Flask, Response, g, jsonify, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest, ClientDisconnected, HTTPException, Unauthorized
from werkzeug.wrappers import Response as AnyResponse

from netstacks import errors, resources, urls
from netstacks.controller_admin.live import RemoteViews
from netstacks.controller_admin.paths import SECOND_FACTOR
from netstacks.controller_admin.proxy import Proxy
from netstacks.controller_admin.remote_api import RemoteApi, put_cookies
from netstacks.controller_admin.settings import Settings
from netstacks.controller_admin.upstream import ApiUnreachable, Upstream
from netstacks.web import admin
from netstacks.web.admin import ha_source
from netstacks.web.admin.api import Viewer, api, viewer
from netstacks.web.admin.api import install as install_api
from netstacks.web.admin.layout import Frame, install_frame
from netstacks.web.http import csp, inputs, outputs
from netstacks.web.http.own_path import own_path
from netstacks.web.listener import limited_worker
from netstacks.web.listener.client_socket import BODY_BYTES, BODY_INCOMPLETE

log = structlog.get_logger()

_RETRY_SECS = 5
_HOME = "/admin"
_HEALTH = "/health"


def create_app(settings: Settings) -> Flask:
    """Builds the application for the API at `settings.api_url`."""
    root = resources.folder()
    app = Flask("netstacks", template_folder=str(root / "templates"), static_folder=str(root / "static"))
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    upstream = Upstream(settings.api_url)
    remote = RemoteApi(upstream)
    install_api(app, remote)
    install_frame(app, _frame)
    ha_source.install(app, RemoteViews(remote))
    app.before_request(_begin)
    app.before_request(_check_client)
    app.before_request(Proxy(upstream).answer)
    app.before_request(inputs.check_address)
    app.register_blueprint(admin.blueprint)
    app.add_url_rule("/", view_func=_home)
    app.add_url_rule(_HEALTH, view_func=_health)
    app.add_url_rule("/login", view_func=_login)
    app.add_url_rule("/share", view_func=_share)
    app.after_request(put_cookies)
    app.after_request(_finish)
    app.register_error_handler(ApiUnreachable, _unreachable)
    app.register_error_handler(errors.SecondFactorMissing, _second_factor_missing)
    app.register_error_handler(errors.NetstacksError, _our_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


def _frame(_: Viewer) -> Frame:
    return Frame(_HOME, url_for("admin.account"))


def _home() -> AnyResponse:
    return redirect(_HOME)


def _health() -> dict[str, str]:
    """The health of this process; that of an instance is at /api/v1/health."""
    return {"status": "healthy"}


def _login() -> AnyResponse | str:
    target = own_path(request.args.get("next", "/"))
    has_ended = any(name.endswith("netstacks_page") for name in request.cookies)
    try:
        viewer()
    except Unauthorized:
        return render_template("login.html", next=target, has_ended=has_ended, **api().get("/api/v1/auth/notice"))
    return redirect(target)


def _share() -> str:
    """The page of a link to watch a session. The token is in the URL's fragment, which only the page's script reads."""
    return render_template("share.html")


def _begin() -> None:
    g.request_id = uuid.uuid4().hex[:12]
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _check_client() -> None:
    """Raises ServiceUnavailable for a surplus of requests, BadRequest for a Host that a load balancer may misread."""
    if request.path == _HEALTH:
        return
    limited_worker.refuse_surplus(request.environ)
    if not urls.is_host(request.environ.get("HTTP_HOST", "")):
        raise BadRequest("The header Host must be the name or the address of this site.")


def _finish(response: Response) -> Response:
    csp.protect(response)
    # An id that the API has set stays: its log has the request under it.
    response.headers.setdefault("X-Request-Id", g.get("request_id", ""))
    return response


def _is_for_scripts() -> bool:
    return request.path.startswith(("/api/", "/ws/", "/csrf-token", _HEALTH, "/admin/ha/stream"))


def _answer(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    if _is_for_scripts():
        response = jsonify(error=message)
    else:
        template = "admin/unavailable.html" if status == 503 else "error.html"
        response = Response(render_template(template, status=status, message=outputs.as_sentence(message)))
    response.status_code = status
    response.headers.update(headers or {})
    return response


def _unreachable(error: ApiUnreachable) -> Response:
    log.warning("api.unreachable", path=request.path, error=str(error.__cause__ or "no instance answers"))
    return _answer(503, str(error), {"Retry-After": str(_RETRY_SECS)})


def _second_factor_missing(error: errors.SecondFactorMissing) -> AnyResponse:
    return _answer(403, str(error)) if _is_for_scripts() else redirect(SECOND_FACTOR)


def _our_error(error: errors.NetstacksError) -> Response:
    status = 422 if isinstance(error, errors.InvalidInput) else 500
    return _answer(status, outputs.as_sentence(str(error)))


def _http_error(error: HTTPException) -> Response:
    if isinstance(error, ClientDisconnected):
        return _answer(408, BODY_INCOMPLETE)
    status = error.code or 500
    retry = {"Retry-After": str(_RETRY_SECS)} if status == 503 else {}
    return _answer(status, error.description or error.name, retry)


def _unexpected(error: Exception) -> Response:
    log.exception("request.failed", path=request.path, method=request.method)
    return _answer(500, f"An unexpected error occurred. The log has it as request {g.get('request_id')}.")
