"""A scripted OpenTelemetry collector: takes traces over HTTP, and is slow, frozen, full or broken on demand."""

import base64
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS = ("traceId", "spanId", "parentSpanId")


def checked(body: bytes) -> ExportTraceServiceRequest:
    """The request as the generated classes of OTLP read it; raises ParseError for a member that OTLP does not have.

    The JSON of protobuf has ids in base64, that of OTLP in hexadecimal: this is their only difference here.
    """
    parsed = json.loads(body)
    for resource in parsed["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in _IDS:
                    if name in span:
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return ParseDict(parsed, ExportTraceServiceRequest())


class Collector:
    """`statuses` are the answers to the next requests, then 200. `hold` delays every answer until it is cleared."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        """Of every request, also of the refused ones."""
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.at: list[float] = []
        """When each request came, by the monotonic clock."""
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.answer = b"{}"
        self.hold = threading.Event()
        self._stopping = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        self.at.append(time.monotonic())
        self.paths.append(handler.path)
        self.heads.append({name.lower(): value for name, value in handler.headers.items()})
        self.bodies.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        while self.hold.is_set() and not self._stopping.wait(0.05):
            pass
        status, headers = self.statuses.pop(0) if self.statuses else (200, {})
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(self.answer)))
        handler.end_headers()
        handler.wfile.write(self.answer)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span that came, with `instance` and its attributes as a plain dictionary."""
        return [each for body in list(self.bodies) for each in _spans(body)]

    def find(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """The first span for which `wanted` is true."""
        return next(filter(wanted, self.spans), None)


def _spans(body: bytes) -> list[dict[str, Any]]:
    checked(body)
    [resource] = json.loads(body)["resourceSpans"]
    instance = _plain(resource["resource"]["attributes"])["service.instance.id"]
    [scope] = resource["scopeSpans"]
    return [{**span, "attributes": _plain(span["attributes"]), "instance": instance} for span in scope["spans"]]


def _plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in attributes}
