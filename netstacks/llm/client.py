"""The client of one provider. Its time limits run in the caller's greenlet: no state of the network can block it."""

import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, Protocol

from netstacks import greenlets, tracing
from netstacks.llm import chat_completions, messages_api
from netstacks.llm.call import Call, PreparedRequest
from netstacks.llm.clocks import Clocks, Stage
from netstacks.llm.connection import IDLE_SECS, ProviderConnection
from netstacks.llm.conversation import ChatRequest, Finished, Message, Piece, Text, Usage, Waiting
from netstacks.llm.failures import CallCancelled, ProviderRefused, StreamCut
from netstacks.llm.provider import Dialect, Provider
from netstacks.llm.stream_parser import Reader, StreamParser

# Idle connections that are kept for the next calls, unless the entry limits concurrent calls.
_KEPT_CONNECTIONS = 20
# Pieces that come within this time after others wait for each other, because each has a cost on its way to the client.
_TOGETHER_SECS = 0.02
_CANARY = ChatRequest((Message("user", (Text("ping"),)),), max_tokens=1)


class _Dialect(Protocol):
    PATH: str

    def headers(self, provider: Provider) -> dict[str, str]: ...

    def body(self, provider: Provider, request: ChatRequest, model: str) -> dict[str, Any]: ...

    def Reader(self, provider: Provider, *, allows_empty: bool = False) -> Reader: ...  # noqa: N802 - a class there


_DIALECTS: dict[Dialect, _Dialect] = {"messages": messages_api, "chat_completions": chat_completions}


class ProviderClient:
    """Calls to one provider, with reused connections. Callers limit how many run at once."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._dialect = _DIALECTS[provider.dialect]
        self._most_kept = provider.max_concurrent or _KEPT_CONNECTIONS
        self._kept: list[ProviderConnection] = []
        """Idle connections, the most recently used one last."""
        self._is_tidied = False

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        """The pieces of the answer, the last of which is Finished. Closing the generator cancels the call.

        Yields Waiting for each second without a piece. The total is paused while the caller processes a piece, because
        a slow reader is not a failure of the provider; after twice the total the call ends as cancelled nevertheless.
        Raises ProviderFailure, and InvalidInput when the messages have no text.
        """
        return self._ask(request, model, total_secs, self._dialect.Reader(self._provider))

    def canary(self, model: str) -> Usage:
        """Makes the cheapest request, for one token, and returns its usage. Raises ProviderFailure."""
        reader = self._dialect.Reader(self._provider, allows_empty=True)
        usage = Usage()
        for piece in self._ask(_CANARY, model, self._provider.total_secs, reader):
            if isinstance(piece, Finished):
                usage = piece.usage
        return usage

    def close(self) -> None:
        """Closes the idle connections and keeps none from now on. Running calls continue."""
        self._most_kept = 0
        while self._kept:
            self._kept.pop().http.close()

    def _ask(self, request: ChatRequest, model: str, total_secs: float, reader: Reader) -> Generator[Piece]:
        # Not as a context manager: the current span of the greenlet is that of the caller, also between two pieces.
        span = tracing.begin("", tracing.Kind.CLIENT)
        if span.is_recorded:
            self._describe(span, model)
        try:
            with closing(self._exchange(request, model, total_secs, reader, span.traceparent)) as pieces:
                for piece in pieces:
                    if isinstance(piece, Finished):
                        span.set("gen_ai.usage.input_tokens", piece.usage.input_tokens)
                        span.set("gen_ai.usage.output_tokens", piece.usage.output_tokens)
                    yield piece
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()

    def _describe(self, span: tracing.Span, model: str) -> None:
        span.rename(f"chat {model}")
        span.set("gen_ai.operation.name", "chat")
        span.set("gen_ai.provider.name", self._provider.type)
        span.set("gen_ai.request.model", model)
        span.set("netstacks.llm_provider", self._provider.name)

    def _exchange(
        self, request: ChatRequest, model: str, total_secs: float, reader: Reader, traceparent: str | None
    ) -> Generator[Piece]:
        call = self._begin(request, model, total_secs, traceparent)
        clocks = Clocks(self._provider, total_secs)
        parser = StreamParser(reader)
        try:
            while not parser.is_over:
                for piece in _next_pieces(call, parser, clocks):
                    given_at = time.monotonic()
                    call.rest(_TOGETHER_SECS)
                    yield piece
                    clocks.pause(time.monotonic() - given_at)
                if parser.failure is not None:
                    raise parser.failure
                greenlets.give_way()
        finally:
            if parser.is_over:
                call.drop_rest()
            else:
                call.abandon()

    def _begin(self, request: ChatRequest, model: str, total_secs: float, traceparent: str | None) -> Call:
        provider = self._provider
        if provider.key and not (provider.key.isascii() and provider.key.isprintable()):
            raise ProviderRefused("was not called: its key has characters that a request cannot carry", 401)
        headers = self._dialect.headers(provider)
        if traceparent is not None:
            # Without `tracestate`, which may tell a provider about other systems.
            headers["traceparent"] = traceparent
        url = provider.base_url.rstrip("/") + self._dialect.PATH
        prepared = PreparedRequest(provider, url, headers, self._dialect.body(provider, request, model), total_secs)
        # The most recently used one is the most likely to be still open.
        call = Call(self._kept.pop() if self._kept else ProviderConnection(), prepared)
        greenlets.spawn(f"llm-call-{provider.name}", call.run, self._keep)
        return call

    def _keep(self, connection: ProviderConnection) -> None:
        """Keeps the connection of a finished call for the next one, or closes it."""
        if len(self._kept) >= self._most_kept:
            connection.http.close()
            return
        connection.kept_at = time.monotonic()
        self._kept.append(connection)
        if not self._is_tidied:
            self._is_tidied = True
            greenlets.spawn(f"llm-idle-connections-{self._provider.name}", self._tidy)

    def _tidy(self) -> None:
        """Closes connections that are idle for too long. An HTTP client would do so only at its next call."""
        try:
            while self._kept:
                greenlets.sleep(IDLE_SECS)
                last_kept_at = time.monotonic() - IDLE_SECS
                while self._kept and self._kept[0].kept_at <= last_kept_at:
                    self._kept.pop(0).http.close()
        finally:
            self._is_tidied = False


def _next_pieces(call: Call, parser: StreamParser, clocks: Clocks) -> list[Piece]:
    """The pieces that come next, maybe none; Waiting after a second without. Raises ProviderFailure."""
    if call.is_abandoned:
        raise CallCancelled("was cancelled, because its answer was not read")
    try:
        data = call.take(clocks.left_secs())
    except StreamCut:
        # After the end of the answer only the token count is missing.
        if not parser.is_complete:
            raise
        return parser.feed(b"", is_last=True)
    pieces = parser.feed(data, is_last=call.is_read)
    clocks.reached(_stage(call, parser), parser.progress)
    if pieces or parser.failure is not None:
        return pieces
    if clocks.is_expired:
        if parser.is_complete:
            return parser.feed(b"", is_last=True)
        raise clocks.timeout()
    return [Waiting()] if clocks.is_waiting else []


def _stage(call: Call, parser: StreamParser) -> Stage:
    if parser.is_complete:
        return Stage.COMPLETE
    if parser.progress:
        return Stage.BEGUN
    return Stage.SENT if call.was_sent else Stage.CONNECTING
