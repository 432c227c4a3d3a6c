"""The exporter: one greenlet sends finished spans to the collector, in batches. No other work ever waits for it."""

import socket
import time
from collections import deque

import httpx2
import structlog

from netstacks import __version__, greenlets
from netstacks.tracing import otlp
from netstacks.tracing.spans import Span

log = structlog.get_logger()

MAX_WAITING = 2048
BATCH = 512
# How long spans are collected for one batch.
_COLLECT_SECS = 5.0
_TIMEOUT = httpx2.Timeout(10.0, connect=3.0)
# Statuses of a collector that may accept the same batch later (OTLP/HTTP, Retryable Response Codes).
_RETRIED = (429, 502, 503, 504)
# The pauses before another attempt with the same batch. After the last attempt the batch is lost.
_PAUSES_SECS = (1.0, 2.0, 4.0, 8.0, 16.0)
# A longer Retry-After would lose new spans for the sake of old ones.
_MAX_PAUSE_SECS = 60.0
_REPORT_SECS = 60.0
_ANSWER_BYTES = 64 * 1024
_ANSWER_SECS = 10.0


class Exporter:
    """Keeps at most MAX_WAITING spans and one batch under way; further spans are lost, which the log reports."""

    def __init__(self, endpoint: str, headers: str | None, instance_id: str) -> None:
        """`endpoint` is the collector's base URL, `headers` are added ones as `otlp.parse_headers` reads them."""
        self._url = otlp.parse_endpoint(endpoint)
        self._headers = {
            **otlp.parse_headers(headers or ""),
            "content-type": "application/json",
            # A small compressed answer may decompress to a huge one.
            "accept-encoding": "identity",
            "user-agent": f"netstacks-controller/{__version__}",
        }
        self._resource = {
            "service.name": "netstacks-controller",
            "service.version": __version__,
            "service.instance.id": instance_id,
            "host.name": socket.gethostname(),
        }
        self._waiting: deque[Span] = deque()
        self._arrival, self._is_full, self._closing = greenlets.Event(), greenlets.Event(), greenlets.Event()
        self._lost, self._why = 0, ""
        """How many spans were lost since the last report, and the last reason."""
        self._reported_at = -_REPORT_SECS
        self._http: httpx2.Client | None = None
        self.background = greenlets.Background("trace-exporter", self._run)

    def __len__(self) -> int:
        """How many spans wait to be sent."""
        return len(self._waiting)

    def start(self) -> None:
        self.background.start()

    def put(self, span: Span) -> None:
        """Takes a finished span; returns at once."""
        if len(self._waiting) >= MAX_WAITING:
            self._lose(1, "the collector is too slow or away")
            return
        self._waiting.append(span)
        self._arrival.set()
        if len(self._waiting) >= BATCH:
            self._is_full.set()

    def flush(self, timeout_secs: float) -> bool:
        """Sends what waits, each batch once, and ends the export; False when that takes longer than `timeout_secs`."""
        self._closing.set()
        self._arrival.set()
        self._is_full.set()
        return self.background.join(timeout_secs)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._arrival.wait()
            self._arrival.clear()
            self._is_full.wait(_COLLECT_SECS)
            self._is_full.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                try:
                    self._send(batch)
                except Exception:
                    log.exception("traces.failed")
                    self._lose(len(batch), "an unexpected error")
                self._report()
        self._report(is_last=True)
        if self._http is not None:
            self._http.close()

    def _send(self, batch: list[Span]) -> None:
        body = self._encode(batch)
        for attempt, pause_secs in enumerate((*_PAUSES_SECS, 0.0)):
            retry_after_secs = 0.0
            is_last = attempt == len(_PAUSES_SECS) or self._closing.is_set()
            try:
                answer, content = self._post(body)
            # The other classes than HTTPError: the proxies or the CA file that the environment names are invalid.
            except (httpx2.HTTPError, httpx2.InvalidURL, ImportError, OSError, ValueError) as error:
                # Without its text, which may quote a proxy's password.
                why = f"the collector cannot be reached ({type(error).__name__})"
            else:
                if answer.is_success:
                    if rejected := otlp.rejected_spans(content):
                        self._lose(rejected, "the collector rejected them")
                    return
                why = f"the collector answered {answer.status_code}"
                if answer.status_code not in _RETRIED:
                    break
                retry_after_secs = _retry_after_secs(answer)
            if is_last:
                break
            self._report()
            # A drain ends the pause: the batch is then tried once more.
            self._closing.wait(max(pause_secs, retry_after_secs))
        self._lose(len(batch), why)

    def _encode(self, batch: list[Span]) -> bytes:
        encoded = []
        for span in batch:
            encoded.append(otlp.encode_span(span))
            greenlets.give_way()
        return otlp.encode_request(encoded, self._resource)

    def _post(self, body: bytes) -> tuple[httpx2.Response, bytes]:
        """The collector's response and the beginning of its body."""
        if self._http is None:
            self._http = httpx2.Client(timeout=_TIMEOUT, limits=httpx2.Limits(max_connections=1))
        content = b""
        with self._http.stream("POST", self._url, content=body, headers=self._headers) as response:
            ends_at = time.monotonic() + _ANSWER_SECS
            for part in response.iter_raw():
                content += part
                if len(content) > _ANSWER_BYTES or time.monotonic() > ends_at:
                    break
        return response, content

    def _lose(self, count: int, why: str) -> None:
        self._lost += count
        self._why = why

    def _report(self, *, is_last: bool = False) -> None:
        now = time.monotonic()
        if self._lost and (is_last or now - self._reported_at >= _REPORT_SECS):
            log.warning("traces.lost", spans=self._lost, reason=self._why, collector=self._url)
            self._lost, self._reported_at = 0, now


def _retry_after_secs(answer: httpx2.Response) -> float:
    """The seconds of Retry-After. Its other form, a date, counts as absent: the clocks may differ."""
    text = answer.headers.get("retry-after", "")
    return min(float(text[:6]), _MAX_PAUSE_SECS) if text.isascii() and text.isdigit() else 0.0
