"""The client of one provider. Its time limits run in the caller, which no state of the network can block longer."""

import time
from collections.abc import Generator
from typing import Any, Protocol

from netstacks import greenlets
from netstacks.llm import chat_completions, messages_api
from netstacks.llm.call import Call, PreparedRequest, Reader, Stage
from netstacks.llm.connection import IDLE_SECS, ProviderConnection
from netstacks.llm.conversation import ChatRequest, Finished, Message, Piece, Text, Usage, Waiting
from netstacks.llm.failures import CallCancelled, ProviderRefused, ProviderTimeout
from netstacks.llm.provider import Dialect, Provider

# Idle connections that are kept for the next calls, unless the entry limits concurrent calls.
_KEPT_CONNECTIONS = 20
# How long to wait for the token count after the end of the answer.
_COUNT_SECS = 1.0
# The longest time without an item for the caller.
_WAITING_SECS = 1.0
# A call is abandoned after this multiple of its total, including the time that the caller spends on pieces.
_ABSOLUTE_FACTOR = 2
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
        a slow reader is no failure of the provider; after twice the total the call ends as cancelled nevertheless.
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
        call = self._begin(request, model, total_secs, reader)
        clocks = _Clocks(self._provider, total_secs)
        is_over = False
        with greenlets.Timer(total_secs * _ABSOLUTE_FACTOR, call.abandon):
            try:
                while not is_over:
                    if call.is_abandoned:
                        raise CallCancelled("was cancelled, because its answer was not read")
                    was_complete = reader.is_complete
                    try:
                        came = call.take(min(_WAITING_SECS, clocks.left_secs(is_complete=was_complete)))
                    except greenlets.Empty:
                        if was_complete:
                            yield from reader.end()
                            return
                        if not reader.is_complete and clocks.left_secs(is_complete=False) <= 0:
                            raise clocks.timeout(call.heard_at) from None
                        came = Waiting()
                    if isinstance(came, Stage):
                        clocks.reached(came)
                        continue
                    is_over = isinstance(came, Finished)
                    clocks.heard(call.heard_at)
                    given_at = time.monotonic()
                    yield came
                    clocks.pause(time.monotonic() - given_at)
            finally:
                if not is_over:
                    call.abandon()

    def _begin(self, request: ChatRequest, model: str, total_secs: float, reader: Reader) -> Call:
        provider = self._provider
        if provider.key and not (provider.key.isascii() and provider.key.isprintable()):
            raise ProviderRefused("was not called: its key has characters that a request cannot carry", 401)
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            # A small compressed body may decompress to a huge one.
            "accept-encoding": "identity",
            **self._dialect.headers(provider),
        }
        url = provider.base_url.rstrip("/") + self._dialect.PATH
        prepared = PreparedRequest(provider, url, headers, self._dialect.body(provider, request, model), total_secs)
        # The most recently used one is the most likely to be still open.
        call = Call(self._kept.pop() if self._kept else ProviderConnection(), prepared, reader)
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


class _Clocks:
    """The three time limits of a call: connect, first token, total."""

    def __init__(self, provider: Provider, total_secs: float) -> None:
        self._provider = provider
        self._total_secs = total_secs
        self._total_at = time.monotonic() + total_secs
        self._stage: Stage | None = None
        self._stage_at = time.monotonic() + provider.connect_secs
        self._heard_at = time.monotonic()

    def reached(self, stage: Stage) -> None:
        self._stage = stage
        self._stage_at = time.monotonic() + self._provider.first_token_secs

    def heard(self, at: float) -> None:
        """Records that the model sent something at that time."""
        self._heard_at = max(self._heard_at, at)

    def pause(self, secs: float) -> None:
        """Extends the total by the time that the caller has taken for a piece."""
        self._total_at += secs
        self._heard_at += secs

    def left_secs(self, *, is_complete: bool) -> float:
        """How long to wait for the next piece."""
        total = self._total_at - time.monotonic()
        if is_complete:
            return min(total, _COUNT_SECS)
        return total if self._stage is Stage.BEGUN else min(total, self._stage_at - time.monotonic())

    def timeout(self, heard_at: float) -> ProviderTimeout:
        """The failure for the limit that has expired, when the model has sent nothing since `heard_at`."""
        self.heard(heard_at)
        silent_secs = time.monotonic() - self._heard_at
        if self._total_at <= time.monotonic() or self._stage is Stage.BEGUN:
            kind = f"did not finish its answer within {round(self._total_secs, 1):g} s"
        elif self._stage is Stage.SENT:
            kind = f"did not begin to answer within {self._provider.first_token_secs:g} s"
        else:
            kind = f"could not be reached within {self._provider.connect_secs:g} s"
        return ProviderTimeout(kind, was_sent=self._stage is not None, silent_secs=silent_secs)
