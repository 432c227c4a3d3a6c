"""One HTTP request to a provider, in a greenlet of its own: the caller takes the pieces, and may abandon it anytime.

No exception is raised into a call from outside, because it would land inside the HTTP client. The socket is shut down
instead, and the call ends by itself.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import httpx2

from netstacks import greenlets
from netstacks.llm import error_answers, members
from netstacks.llm.connection import ProviderConnection
from netstacks.llm.conversation import Finished, Piece, TextDelta, ToolInputDelta
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
from netstacks.llm.sse import Decoder, Event

# The limit of a whole stream: events are much larger than the text in them.
_STREAM_BYTES = 32 * 1024 * 1024
_ERROR_BYTES = 64 * 1024
# How long to wait for the rest of a response whose relevant part has been read.
_REST_SECS = 1.0
# Backpressure: reading pauses when the caller has not taken this many pieces.
_QUEUED_PIECES = 256


class Stage(Enum):
    """The progress of a call, on which the time limits depend."""

    SENT = "the request is sent"
    BEGUN = "the model has begun to answer"


class Reader(Protocol):
    """The parser of a dialect's answer."""

    progress: int
    """How many times the model has sent content, including reasoning."""

    @property
    def is_complete(self) -> bool:
        """Whether the dialect's end of the answer has been read."""

    def feed(self, event: Event) -> list[Piece]:
        """The pieces of an event. Raises ProviderFailure."""

    def end(self) -> list[Piece]:
        """The last pieces, at the end of the stream. Raises ProviderFailure when the answer is not complete."""


@dataclass(frozen=True)
class PreparedRequest:
    """A request of a dialect, ready to be sent."""

    provider: Provider
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    total_secs: float


class Call:
    """`run` executes in a greenlet of its own; the caller takes the pieces, or abandons the call."""

    def __init__(self, connection: ProviderConnection, prepared: PreparedRequest, reader: Reader) -> None:
        self._connection = connection
        self._prepared = prepared
        self._reader = reader
        self._progress = 0
        self.heard_at = time.monotonic()
        """When the model last sent something, by the monotonic clock; before that, when the call began."""
        self._came = greenlets.Queue(_QUEUED_PIECES)
        self._characters = 0
        self._has_ended = False
        """Set in the same step in which the connection is given back: it may belong to another call afterwards."""
        self.is_abandoned = False

    def take(self, timeout_secs: float) -> Piece | Stage:
        """The next piece or stage. Raises Empty when there is none in time, and the failure that ended the call."""
        came: Piece | Stage | Exception = self._came.get(timeout=max(0.0, timeout_secs))
        if isinstance(came, Exception):
            raise came
        return came

    def abandon(self) -> None:
        """Ends the call without waiting for its end: at once, or as soon as its connection is established."""
        self.is_abandoned = True
        if not self._has_ended:
            self._connection.hang_up()
        # Makes room in the queue: a call that waits in `put` continues, and ends at its next check.
        with suppress(greenlets.Empty):
            while True:
                self._came.get_nowait()

    def run(self, give_back: Callable[[ProviderConnection], None]) -> None:
        """Sends the request and reads the answer, which ends with Finished or a failure; then frees the connection."""
        try:
            self._ask()
        except Exception as error:
            with suppress(CallCancelled):
                self._put(error)
        finally:
            # No yield between the two: an abandoned call must not hang up on the next one.
            self._has_ended = True
            give_back(self._connection)

    def _put(self, came: Piece | Stage | Exception) -> None:
        if self.is_abandoned:
            raise CallCancelled("was no longer wanted")
        self._came.put(came)

    def _ask(self) -> None:
        prepared = self._prepared
        connect_secs = min(prepared.provider.connect_secs, prepared.total_secs)
        # The caller's time limits are shorter. These end a call that was abandoned before it had a connection.
        timeout = httpx2.Timeout(prepared.total_secs, connect=connect_secs)
        # JSON from a browser may contain lone surrogates, which UTF-8 cannot encode.
        content = members.written(prepared.body).encode("utf-8", "replace")
        try:
            with self._connection.http.stream(
                "POST",
                prepared.url,
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
            self._put(Stage.SENT)

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
        decoder = Decoder()
        chunks = _bounded_chunks(response.iter_raw())
        try:
            for chunk in chunks:
                if self._take_in(decoder.feed(chunk)):
                    self._drop_rest(chunks)
                    return
        except httpx2.TransportError as error:
            # After the end of the answer only the token count is missing.
            if not self._reader.is_complete:
                raise _failure(self._prepared, error, cut=True) from error
        self._hand_over(self._reader.end())

    def _take_in(self, events: Iterable[Event]) -> bool:
        """True when the events end the answer. Raises ProviderFailure after handing over the pieces before it."""
        pieces: list[Piece] = []
        is_over = False
        try:
            for event in events:
                pieces += self._reader.feed(event)
                if pieces and isinstance(pieces[-1], Finished):
                    break
        finally:
            is_over = self._hand_over(_joined(pieces))
        return is_over

    def _hand_over(self, pieces: Iterable[Piece]) -> bool:
        """True when the pieces end the answer."""
        if self._reader.progress > self._progress:
            self.heard_at = time.monotonic()
            if not self._progress:
                self._put(Stage.BEGUN)
            self._progress = self._reader.progress
        for piece in pieces:
            match piece:
                case TextDelta(text):
                    piece = TextDelta(text.encode("utf-8", "replace").decode())
                    self._count(text)
                case ToolInputDelta(text):
                    self._count(text)
            self._put(piece)
            if isinstance(piece, Finished):
                return True
        return False

    def _count(self, text: str) -> None:
        self._characters += len(text)
        members.check_size(0, self._characters)

    def _drop_rest(self, chunks: Iterator[bytes]) -> None:
        """Reads the response to its end, because only then its connection can be reused."""
        with greenlets.Timer(_REST_SECS, self._connection.hang_up), suppress(httpx2.TransportError, ProviderFailure):
            for _ in chunks:
                pass


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Joins adjacent deltas, because each piece has a cost on its way to the client."""
    for kind, alike in itertools.groupby(pieces, type):
        if kind is TextDelta:
            yield TextDelta("".join(each.text for each in alike if isinstance(each, TextDelta)))
        elif kind is ToolInputDelta:
            yield ToolInputDelta("".join(each.json for each in alike if isinstance(each, ToolInputDelta)))
        else:
            yield from alike


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
