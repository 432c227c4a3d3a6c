"""Health endpoints for load balancers, orchestrators and the Terminal client, answered from a snapshot in memory."""

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import TypedDict

from netstacks.cluster.health import HealthJson, StartingJson

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from netstacks.instance.monitor import HealthMonitor

Answer = tuple[int, Mapping[str, Any]]

# HAProxy probes with OPTIONS by default, and judges by the status.
_METHODS = ("GET", "HEAD", "OPTIONS")

# The query of a load balancer that cuts the connections of a server whose check fails, as HAProxy's shutdown-sessions:
# draining is not a failure to it, and 404 is its word for a server that gets no new connections (disable-on-404).
_DRAINING_IS_404 = "draining=404"

_STARTING: tuple[int, StartingJson] = (503, {"status": "unhealthy", "reason": "starting"})


class Alive(TypedDict):
    """The event loop of the instance runs."""

    status: Literal["alive"]


class HealthEndpoint:
    """WSGI middleware in front of the application, so that frequent probes are cheap."""

    def __init__(self, app: "WSGIApplication", monitor: "HealthMonitor") -> None:
        self._app = app
        self._monitor = monitor
        self._answers: dict[str, Callable[[], Answer]] = {
            "/health": self.live,
            "/api/v1/health": self.health,
            "/api/v1/health/live": self.live,
            "/api/v1/health/ready": self.ready,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answer = self._answers.get(environ["PATH_INFO"])
        if answer is None:
            return self._app(environ, start_response)
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        method = environ["REQUEST_METHOD"]
        if method != "GET":
            headers.append(("Allow", ", ".join(_METHODS)))
        if method in _METHODS:
            status, body = answer()
            if body.get("status") == "draining" and environ.get("QUERY_STRING") == _DRAINING_IS_404:
                status = 404
        else:
            status, body = 405, {"error": "Use GET for health."}
        payload = json.dumps(body).encode()
        headers.append(("Content-Length", str(len(payload))))
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [] if method == "HEAD" else [payload]

    def live(self) -> tuple[int, Alive]:
        """200 while the event loop runs. The Terminal client probes it before its log-in form (docs/protocol.md, 2)."""
        return 200, {"status": "alive"}

    def health(self) -> tuple[int, HealthJson | StartingJson]:
        """Whether this instance should receive traffic: 503 is for what another instance does better."""
        report = self._monitor.report()
        return (report.http_status, report.body()) if report else _STARTING

    def ready(self) -> tuple[int, HealthJson | StartingJson]:
        """503 unless the status is `healthy`, or `degraded` by `consistency` alone."""
        report = self._monitor.report()
        return (200 if report.is_ready else 503, report.body()) if report else _STARTING
