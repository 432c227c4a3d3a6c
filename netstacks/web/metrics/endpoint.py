"""`/metrics`, for Prometheus: only with METRICS_TOKEN, on the public and on the private listener."""

import hmac
import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/metrics"
_METHODS = ("GET", "HEAD")

# Series of the times at which counters and histograms were created: as many again as there are metrics.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class MetricsEndpoint:
    """WSGI middleware in front of the application: a scrape works while the application refuses all requests.

    Requires `token` as the bearer token. Without a token there are no metrics: the application answers 404.
    """

    def __init__(self, app: "WSGIApplication", collector: Collector, token: str | None) -> None:
        self._app = app
        self._collector = collector
        self._token = token

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH or self._token is None:
            return self._app(environ, start_response)
        if not _has_token(environ, self._token):
            text = "Metrics need the header Authorization: Bearer, with the value of METRICS_TOKEN."
            return _refuse(start_response, HTTPStatus.UNAUTHORIZED, text, ("WWW-Authenticate", "Bearer"))
        method = environ["REQUEST_METHOD"]
        if method not in _METHODS:
            text = "Use GET for metrics."
            return _refuse(start_response, HTTPStatus.METHOD_NOT_ALLOWED, text, ("Allow", ", ".join(_METHODS)))
        try:
            encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except ValueError:  # The header names an invalid version.
            encode, content_type = choose_encoder("")
        return _answer(start_response, HTTPStatus.OK, content_type, encode(self._collector), is_head=method == "HEAD")


def _has_token(environ: "WSGIEnvironment", token: str) -> bool:
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    # In constant time: the time of the answer must not tell how much of a guess is right.
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), token.encode())


def _refuse(start_response: "StartResponse", status: HTTPStatus, text: str, header: tuple[str, str]) -> Iterable[bytes]:
    return _answer(start_response, status, "application/json", json.dumps({"error": text}).encode(), header)


def _answer(
    start_response: "StartResponse",
    status: HTTPStatus,
    content_type: str,
    body: bytes,
    *headers: tuple[str, str],
    is_head: bool = False,
) -> Iterable[bytes]:
    fixed = [("Content-Type", content_type), ("Cache-Control", "no-store"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", [*fixed, *headers])
    return [] if is_head else [body]
