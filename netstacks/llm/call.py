"""One question to a provider, asked in a greenlet of its own: its caller takes what comes, and may leave at any time.

No exception reaches a call from outside, because it would land inside the HTTP client. Its socket is shut down instead,
and the call ends by itself.
"""

import functools
import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import httpx2

from netstacks import __version__, greenlets
from netstacks.llm import error_answers, members
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

# Events are much larger than the text in them.
_STREAM_BYTES = 32 * 1024 * 1024
_ERROR_BYTES = 64 * 1024
# How long the rest of an answer is waited for when what matters of it is known already.
_REST_SECS = 1.0
# A provider is held back when its caller has not taken this many pieces.
_QUEUED_PIECES = 256
# What is read at once is taken apart in one go, as far as the HTTP client is concerned: others wait meanwhile.
_READ_BYTES = 4096
# Shorter than the 5 s after which some servers close an idle connection: a request must not meet that close.
IDLE_SECS = 4.0


class Stage(Enum):
    """How far a call has come; the clocks depend on it."""

    SENT = "the request is sent"
    BEGUN = "the model has begun to answer"


class Reader(Protocol):
    """The answer's side of a dialect."""

    progress: int
    """How many times the model has sent something, be it a thought."""

    @property
    def is_complete(self) -> bool:
        """Whether the provider's own end has come."""

    def feed(self, event: Event) -> list[Piece]:
        """The pieces in an event. Raises ProviderFailure."""

    def end(self) -> list[Piece]:
        """The last pieces, when the stream has ended. Raises ProviderFailure when the answer has not."""


@dataclass(frozen=True)
class Sending:
    """A request of a dialect, ready to be sent."""

    provider: Provider
    url: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    total_secs: float


class Line:
    """An HTTP client with one connection at most, which is kept for the next call.

    A client with more of them does not tell which one a call has got, and a call can only be ended by its socket.
    """

    def __init__(self) -> None:
        """Raises NotSent when the proxies or the CA file that the environment names are invalid."""
        self.kept_at = 0.0
        """Since when it waits for its next call, by the monotonic clock."""
        self._socket: socket.socket | None = None
        self._has_hung_up = False
        try:
            self.http = httpx2.Client(
                verify=_tls(),
                headers={"user-agent": f"netstacks-controller/{__version__}"},
                limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECS),
            )
        except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
            # The error may quote a proxy's password.
            raise NotSent(
                "was not asked: the proxy or the CA file in this instance's environment is invalid"
            ) from error

    def connected(self, stream: Any) -> None:
        """Tells what the HTTP client talks through from now on."""
        self._socket = stream.get_extra_info("socket")
        self._has_hung_up = False
        read = stream.read

        def read_in_turns(max_bytes: int, timeout: float | None = None) -> Any:
            # The HTTP client reads on by itself while 1xx responses come, and a socket that has data does not wait.
            greenlets.give_way()
            # What is still sent to a socket that is shut down could be read for ever.
            return b"" if self._has_hung_up else read(min(max_bytes, _READ_BYTES), timeout)

        stream.read = read_in_turns

    def hang_up(self) -> None:
        """Ends what the connection is used for. Its user then closes it."""
        self._has_hung_up = True
        if self._socket is not None:
            greenlets.shut_down(self._socket.fileno())


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reads SSL_CERT_FILE or SSL_CERT_DIR, else the system's authorities. It takes 20 ms, so it is read once."""
    return httpx2.create_ssl_context()


class Call:
    """`run` belongs into a greenlet of its own; the caller takes what comes of it, or abandons it."""

    def __init__(self, line: Line, sending: Sending, reader: Reader) -> None:
        self._line = line
        self._sending = sending
        self._reader = reader
        self._progress = 0
        self.heard_at = time.monotonic()
        """When the model last sent something, by the monotonic clock; before it has, when the call began."""
        self._came = greenlets.Queue(_QUEUED_PIECES)
        self._characters = 0
        self._has_ended = False
        self.is_abandoned = False

    def take(self, timeout_secs: float) -> Piece | Stage:
        """What came next. Raises Empty when nothing did in time, and the failure that ended the call."""
        came: Piece | Stage | Exception = self._came.get(timeout=max(0.0, timeout_secs))
        if isinstance(came, Exception):
            raise came
        return came

    def abandon(self) -> None:
        """Ends the call without waiting for it: at once, or when the connection has come about that it waits for."""
        self.is_abandoned = True
        if not self._has_ended:
            self._line.hang_up()
        # A call that waits for its caller goes on, and finds itself abandoned.
        with suppress(greenlets.Empty):
            while True:
                self._came.get_nowait()

    def run(self, give_back: Callable[[Line], None]) -> None:
        """Asks and reads the answer, which ends with Finished or with a failure. The line is free afterwards."""
        try:
            self._ask()
        except Exception as error:
            with suppress(CallCancelled):
                self._put(error)
        finally:
            # No yield between the two: an abandoned call must not hang up on the next one.
            self._has_ended = True
            give_back(self._line)

    def _put(self, came: Piece | Stage | Exception) -> None:
        if self.is_abandoned:
            raise CallCancelled("was no longer wanted")
        self._came.put(came)

    def _ask(self) -> None:
        sending = self._sending
        connect_secs = min(sending.provider.connect_secs, sending.total_secs)
        # The caller's clocks are shorter; these end a call whose caller has left before there was a connection.
        timeout = httpx2.Timeout(sending.total_secs, connect=connect_secs)
        # Lone surrogates, which JSON from a browser may have, are no UTF-8.
        content = members.written(sending.body).encode("utf-8", "replace")
        try:
            with self._line.http.stream(
                "POST",
                sending.url,
                content=content,
                headers=sending.headers,
                timeout=timeout,
                extensions={"trace": self._trace},
            ) as response:
                self._check(response)
                self._read(response)
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise _failure(sending, error) from error

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The HTTP client tells what it does. The answer to a CONNECT is a proxy's."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._line.connected(info["return_value"])
            if self.is_abandoned:
                self._line.hang_up()
        elif event == "http11.receive_response_headers.started" and info["request"].method != b"CONNECT":
            self._put(Stage.SENT)

    def _check(self, response: httpx2.Response) -> None:
        """Raises the failure that the response is before its body begins."""
        if response.status_code != 200:
            status, headers = response.status_code, response.headers
            raise error_answers.of_status(self._sending.provider, status, headers, self._error_body(response))
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "text/event-stream":
            raise ProviderBroken(
                "did not answer with a stream of events", f" but with {media_type or 'an unnamed type'}"
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProviderBroken("answered with a compressed stream, which was not asked for")

    def _error_body(self, response: httpx2.Response) -> bytes:
        body = b""
        with greenlets.Timer(_REST_SECS, self._line.hang_up), suppress(httpx2.TransportError):
            for chunk in _in_turns(response.iter_raw()):
                body += chunk
                if len(body) >= _ERROR_BYTES:
                    break
        return body[:_ERROR_BYTES]

    def _read(self, response: httpx2.Response) -> None:
        decoder = Decoder()
        chunks = _in_turns(response.iter_raw())
        try:
            for chunk in chunks:
                if self._take_in(decoder.feed(chunk)):
                    self._drop_rest(chunks)
                    return
        except httpx2.TransportError as error:
            # After the provider's own end only the count of the tokens is missing.
            if not self._reader.is_complete:
                raise _failure(self._sending, error, cut=True) from error
        self._hand_over(self._reader.end())

    def _take_in(self, events: Iterable[Event]) -> bool:
        """True when they end the answer. Raises ProviderFailure when what came before it has been handed over."""
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
        """True when they end the answer."""
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
        """A connection whose answer has been read to its end can be kept."""
        with greenlets.Timer(_REST_SECS, self._line.hang_up), suppress(httpx2.TransportError, ProviderFailure):
            for _ in chunks:
                pass


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Few pieces instead of many small ones: each has its price on its way to the reader."""
    for kind, alike in itertools.groupby(pieces, type):
        if kind is TextDelta:
            yield TextDelta("".join(each.text for each in alike if isinstance(each, TextDelta)))
        elif kind is ToolInputDelta:
            yield ToolInputDelta("".join(each.json for each in alike if isinstance(each, ToolInputDelta)))
        else:
            yield from alike


def _in_turns(chunks: Iterable[bytes]) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > _STREAM_BYTES:
            raise ProviderBroken(f"sent a stream of more than {_STREAM_BYTES} bytes")
        yield chunk
        greenlets.give_way()


def _failure(sending: Sending, error: Exception, *, cut: bool = False) -> ProviderFailure:
    """What an error of the HTTP client means. Its text may be told, except that a request's may have the key in it."""
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.WriteTimeout():
            return ProviderTimeout(f"could not be reached within {sending.provider.connect_secs:g} s", was_sent=False)
        case httpx2.TimeoutException():
            return ProviderTimeout(f"did not finish its answer within {round(sending.total_secs, 1):g} s")
        case httpx2.ProxyError():
            return ProviderUnreachable("could not be reached", f": its proxy answered {error}")
        case httpx2.LocalProtocolError():
            return NotSent("was not asked: the request for it has something that HTTP does not allow")
        case _ if cut:
            return StreamCut("broke off in the middle of its answer")
        case httpx2.RemoteProtocolError():
            return ProviderBroken("closed the connection without an answer, or did not answer in HTTP")
        case httpx2.ReadError() | httpx2.WriteError():
            return ProviderUnreachable("closed the connection without an answer")
        case _:
            return ProviderUnreachable("could not be reached", f": {error}")
