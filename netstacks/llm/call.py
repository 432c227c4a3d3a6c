"""One HTTP request to a provider, in a greenlet of its own: the caller takes the bytes, and may abandon it anytime.

No exception is raised into a call from outside, because it would land inside the HTTP client. The socket is shut down
instead, and the call ends by itself.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from netstacks import greenlets
from netstacks.llm import error_answers, members
from netstacks.llm.connection import ProviderConnection
from netstacks.llm.failures import (
    CallCancelled,
    NotSent,
    ProviderBroken,
    ProviderFailure,
    ProviderTimeout,
    ProviderUnreachable,
    StreamCut,
)
from netstacks.llm.provider import Provider

# The limit of a whole stream: events are much larger than the text in them.
_STREAM_BYTES = 32 * 1024 * 1024
_ERROR_BYTES = 64 * 1024
# How long to wait for the rest of a response whose relevant part has been read.
_REST_SECS = 1.0
# Backpressure: reading pauses when the caller has not taken this many bytes, which it parses without a yield.
_UNREAD_BYTES = 8 * 1024
# A call is abandoned after this multiple of its total, including the time that the caller spends on pieces.
_ABSOLUTE_FACTOR = 2


@dataclass(frozen=True)
class PreparedRequest:
    """A request of a dialect, ready to be sent."""

    provider: Provider
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    total_secs: float


class Call:
    """`run` executes in a greenlet of its own; the caller takes the bytes of the answer, or abandons the call."""

    def __init__(self, connection: ProviderConnection, prepared: PreparedRequest) -> None:
        self._connection = connection
        self._connection.rest_until = 0.0
        self._prepared = prepared
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._arrival, self._room = greenlets.Event(), greenlets.Event()
        self._timer = greenlets.Timer(prepared.total_secs * _ABSOLUTE_FACTOR, self.abandon)
        self._failure: Exception | None = None
        self._has_ended = False
        """Set in the same step in which the connection is given back: it may belong to another call afterwards."""
        self._drops_rest = False
        self.was_sent = False
        """Whether the request has been sent, and not only to a proxy."""
        self.is_abandoned = False

    @property
    def is_read(self) -> bool:
        """Whether the response has ended regularly, and the caller has taken all of it."""
        return self._has_ended and self._failure is None and not self._unread

    def take(self, timeout_secs: float) -> bytes:
        """The bytes that have come; empty when nothing has come in time, or when only `was_sent` has changed.

        Raises the failure that ended the call when all bytes have been taken.
        """
        if not self._arrival.wait(max(0.0, timeout_secs)):
            return b""
        if self._unread:
            came = b"".join(self._unread)
            self._unread, self._unread_bytes = [], 0
            self._room.set()
        elif self._failure is not None:
            raise self._failure
        else:
            came = b""
        if not self._has_ended:
            self._arrival.clear()
        return came

    def rest(self, secs: float) -> None:
        """Lets the bytes of the next `secs` come together, because each read has a cost."""
        if not self._has_ended:
            self._connection.rest_until = time.monotonic() + secs

    def drop_rest(self) -> None:
        """Drops what still comes. It is read for a while, because only then the connection can be reused."""
        self._drops_rest = True
        self._room.set()
        if not self._has_ended:
            self._timer.restart(_REST_SECS)

    def abandon(self) -> None:
        """Ends the call without waiting for its end: at once, or as soon as its connection is established."""
        self.is_abandoned = True
        if not self._has_ended:
            self._connection.hang_up()
        # A call that waits for room continues, and ends at its next check.
        self._room.set()
        self._arrival.set()

    def run(self, give_back: Callable[[ProviderConnection], None]) -> None:
        """Sends the request and reads the answer to its end or a failure; then frees the connection."""
        with self._timer:
            try:
                self._ask()
            except Exception as error:
                self._failure = error
            finally:
                # No yield in between: an abandoned call must not hang up on the next one.
                self._has_ended = True
                self._arrival.set()
                give_back(self._connection)

    def _ask(self) -> None:
        prepared = self._prepared
        connect_secs = min(prepared.provider.connect_secs, prepared.total_secs)
        # Connecting has a limit of its own, because only the HTTP client can end it. Reads end when the call hangs up.
        timeout = httpx2.Timeout(prepared.total_secs, connect=connect_secs, read=None)
        # JSON from a browser may contain lone surrogates, which UTF-8 cannot encode.
        content = members.written(prepared.body).encode("utf-8", "replace")
        try:
            with self._connection.http.stream(
                "POST",
                _parsed(prepared.url),
                content=content,
                headers=prepared.headers,
                timeout=timeout,
                extensions={"trace": self._trace},
            ) as response:
                self._check(response)
                self._read(response)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise _failure(prepared, error) from error

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The HTTP client's trace hook. The response to a CONNECT comes from a proxy and is ignored."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._connection.connected(info["return_value"])
            if self.is_abandoned:
                self._connection.hang_up()
        elif event == "http11.receive_response_headers.started" and info["request"].method != b"CONNECT":
            self.was_sent = True
            self._arrival.set()

    def _check(self, response: httpx2.Response) -> None:
        """Raises ProviderFailure for an unusable status, media type or encoding."""
        if response.status_code != 200:
            status, headers = response.status_code, response.headers
            raise error_answers.of_status(self._prepared.provider, status, headers, self._error_body(response))
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "text/event-stream":
            raise ProviderBroken(
                "did not answer with a stream of events", f" but with {media_type or 'an unnamed type'}"
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProviderBroken("answered with a compressed stream, which was not called for")

    def _error_body(self, response: httpx2.Response) -> bytes:
        body = b""
        with greenlets.Timer(_REST_SECS, self._connection.hang_up), suppress(httpx2.TransportError):
            for chunk in _bounded_chunks(response.iter_raw()):
                body += chunk
                if len(body) >= _ERROR_BYTES:
                    break
        return body[:_ERROR_BYTES]

    def _read(self, response: httpx2.Response) -> None:
        try:
            for chunk in _bounded_chunks(response.iter_raw()):
                self._keep(chunk)
        except httpx2.TransportError as error:
            raise _failure(self._prepared, error, cut=True) from error

    def _keep(self, chunk: bytes) -> None:
        """Keeps bytes for the caller, and waits when it has not taken enough of them."""
        if not self._drops_rest:
            self._unread.append(chunk)
            self._unread_bytes += len(chunk)
            self._arrival.set()
        while self._unread_bytes >= _UNREAD_BYTES and not (self._drops_rest or self.is_abandoned):
            self._room.clear()
            self._room.wait()
        if self.is_abandoned:
            raise CallCancelled("was no longer wanted")


@functools.lru_cache(maxsize=64)
def _parsed(url: str) -> httpx2.URL:
    return httpx2.URL(url)


def _bounded_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > _STREAM_BYTES:
            raise ProviderBroken(f"sent a stream of more than {_STREAM_BYTES} bytes")
        yield chunk
        greenlets.give_way()


def _failure(prepared: PreparedRequest, error: Exception, *, cut: bool = False) -> ProviderFailure:
    """The failure for an HTTP client error, without the text of a LocalProtocolError, which may quote the key."""
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.WriteTimeout():
            return ProviderTimeout(f"could not be reached within {prepared.provider.connect_secs:g} s", was_sent=False)
        case httpx2.TimeoutException():
            return ProviderTimeout(f"did not finish its answer within {round(prepared.total_secs, 1):g} s")
        case httpx2.ProxyError():
            return ProviderUnreachable("could not be reached", f": its proxy answered {error}")
        case httpx2.LocalProtocolError():
            return NotSent("was not called: HTTP does not allow the request that was made for it")
        case _ if cut:
            return StreamCut("broke off in the middle of its answer")
        case httpx2.RemoteProtocolError():
            return ProviderBroken("closed the connection without an answer, or did not answer in HTTP")
        case httpx2.ReadError() | httpx2.WriteError():
            return ProviderUnreachable("closed the connection without an answer")
        case _:
            return ProviderUnreachable("could not be reached", f": {error}")
