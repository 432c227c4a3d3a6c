"""Failover: calls the providers in the administrator's order until one answers; skips those with an open circuit."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from uuid import UUID

import structlog

from netstacks.llm.answer import Answer, AnswerBuilder
from netstacks.llm.attempts import Attempts, PendingRequest
from netstacks.llm.conversation import (
    ChatRequest,
    Message,
    Piece,
    Text,
    TextDelta,
    Waiting,
)
from netstacks.llm.failures import (
    CallCancelled,
    Incomplete,
    NotConfigured,
    ProviderFailure,
    RateLimited,
)
from netstacks.llm.limits import Limits
from netstacks.llm.outcomes import Answering, Attempt, Hint, OnAttempt, ProviderSwitch, Skipped
from netstacks.llm.protocols import Breaker, Providers
from netstacks.llm.provider import Provider

log = structlog.get_logger()

# No call begins with less time than this, because no provider could answer.
_MIN_SECS = 1.0
# A stream may take this multiple of a provider's total: a user who sees progress waits longer.
_STREAM_FACTOR = 4
# How often `is_wanted` is called.
_WANTED_SECS = 1.0

_CONTINUE = (
    "Your answer was cut off by a network fault. Continue it exactly after its last character. Do not repeat any of"
    " it and do not comment on the interruption."
)


def _ignore(_: Attempt) -> None:
    pass


class Orchestrator:
    """Routes requests to providers. `breaker` finds the circuit of a provider and model.

    The `on_attempt` of a request is called after each call to a provider, and must not raise.
    """

    def __init__(self, directory: Providers, breaker: Callable[[Provider, str], Breaker], limits: Limits) -> None:
        self._directory = directory
        self._breaker = breaker
        self._limits = limits
        self._attempts = Attempts(directory, breaker, limits)
        self.statistics = self._attempts.statistics

    @contextmanager
    def slot(self, user_id: UUID, *, is_background: bool = False) -> Iterator[None]:
        """Holds one of the user's slots. Take it before redaction, which may cost more than the call itself.

        `is_background`: a page makes the request by itself, and it uses none of the user's interactive slots. Raises
        NotConfigured and TooManyCalls.
        """
        providers = self._providers()
        self._limits.check_user(user_id, self._limits.today(user_id, providers), is_background=is_background)
        # No greenlet switch since the check: concurrent requests could exceed the limit.
        with self._limits.slots(is_background=is_background).taken(user_id):
            yield

    def complete(
        self,
        request: ChatRequest,
        user_id: UUID,
        hint: Hint,
        *,
        total_secs: float,
        is_wanted: Callable[[], bool] = lambda: True,
        on_attempt: OnAttempt = _ignore,
    ) -> Answer:
        """The whole answer. When a provider breaks off, the next one starts from the beginning.

        `is_wanted` is called about once a second meanwhile. Raises CallCancelled when it returns False, and
        NotConfigured, AllResting and NoAnswer.
        """
        pending = self._pending(request, user_id, hint, total_secs, 1, on_attempt)
        checked_at = time.monotonic()
        for provider, model in self._admitted(pending):
            builder = AnswerBuilder()
            try:
                with closing(self._attempts.run(pending, provider, model, request, builder)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Waiting) or time.monotonic() - checked_at >= _WANTED_SECS:
                            checked_at = time.monotonic()
                            if not is_wanted():
                                raise CallCancelled("is no longer wanted")
            except CallCancelled:
                raise
            except ProviderFailure as failure:
                self._skip(pending, provider, model, failure)
                continue
            return replace(builder.answer(), provider=provider.name, model=model, skipped=tuple(pending.skipped))
        raise pending.error()

    def stream(
        self,
        request: ChatRequest,
        user_id: UUID,
        hint: Hint,
        *,
        total_secs: float,
        on_attempt: OnAttempt = _ignore,
    ) -> Generator[Answering | ProviderSwitch | Piece]:
        """Answering, then the pieces of the answer. Closing the generator cancels the call.

        Before the first piece of text only Waiting is yielded, so that a failover before it is invisible. After it,
        ProviderSwitch announces a failover, and the next provider continues the text that was yielded. Raises what
        `complete` raises before the first piece, and Incomplete after it.
        """
        pending = self._pending(request, user_id, hint, total_secs, _STREAM_FACTOR, on_attempt)
        yield from self._stream(pending)

    def _stream(self, pending: PendingRequest) -> Generator[Answering | ProviderSwitch | Piece]:
        yielded = AnswerBuilder()
        broken_off: Skipped | None = None
        for provider, model in self._admitted(pending):
            if not yielded.text.strip():
                # The client has no text yet: the answer starts from the beginning.
                yielded = AnswerBuilder()
            request = _continued(pending.request, yielded.text) if yielded.text else pending.request
            with closing(self._attempts.run(pending, provider, model, request, yielded)) as pieces:
                try:
                    blank: list[Piece] = []
                    first = next(pieces)
                    while isinstance(first, Waiting) or (isinstance(first, TextDelta) and not first.text.strip()):
                        if isinstance(first, Waiting):
                            yield first
                        else:
                            blank.append(first)
                        first = next(pieces)
                    if broken_off is None:
                        yield Answering(provider, model, tuple(pending.skipped))
                    else:
                        yield ProviderSwitch(broken_off.provider, broken_off.why, provider, model)
                    yield from blank
                    yield first
                    yield from pieces
                    return
                except CallCancelled:
                    raise
                except ProviderFailure as failure:
                    skipped = self._skip(pending, provider, model, failure)
                    if yielded.tool_uses_begun:
                        # Another model cannot continue a tool call.
                        raise Incomplete(f"The answer is incomplete: {provider.name} {skipped.why}.") from failure
                    if yielded.text.strip():
                        broken_off = skipped
        if yielded.text.strip():
            raise Incomplete(f"The answer is incomplete. {pending.error()}")
        raise pending.error()

    def _pending(
        self,
        request: ChatRequest,
        user_id: UUID,
        hint: Hint,
        total_secs: float,
        total_factor: int,
        on_attempt: OnAttempt,
    ) -> PendingRequest:
        providers = self._providers()
        today = self._limits.today(user_id, providers)
        # Stable: the administrator's order decides among the others.
        ordered = sorted(providers, key=lambda each: not _matches_hint(each, hint.provider))
        candidates = [(each, each.model(hint.model)) for each in ordered]
        deadline = time.monotonic() + total_secs
        return PendingRequest(request, user_id, deadline, candidates, total_factor, today, on_attempt)

    def _providers(self) -> list[Provider]:
        providers = self._directory.providers()
        if not providers:
            raise NotConfigured("AI is not configured on this controller. An administrator can add a provider.")
        return providers

    def _admitted(self, pending: PendingRequest) -> Iterator[tuple[Provider, str]]:
        """The providers that may be called now, in order; the others are skipped without waiting."""
        for provider, model in pending.candidates:
            breaker = self._breaker(provider, model)
            if not breaker.is_closed:
                secs = breaker.retry_after_secs()
                pending.skipped.append(Skipped(provider.name, f"is paused for {secs:.0f} s after failures"))
                pending.retry_after_secs.append(secs)
            # No greenlet switch between this check and `Attempts.run`, which takes the provider's slot.
            elif obstacle := self._limits.obstacle(provider, pending.today):
                why, secs = obstacle
                pending.skipped.append(Skipped(provider.name, why))
                pending.retry_after_secs.append(secs)
            elif pending.deadline - time.monotonic() < _MIN_SECS:
                pending.skipped.append(Skipped(provider.name, "was not called, because the time ran out"))
            else:
                yield provider, model

    def _skip(self, pending: PendingRequest, provider: Provider, model: str, failure: ProviderFailure) -> Skipped:
        skipped = Skipped(provider.name, str(failure))
        pending.skipped.append(skipped)
        pending.failures.append(failure)
        if isinstance(failure, RateLimited):
            pending.retry_after_secs.append(self._breaker(provider, model).retry_after_secs())
        log.warning("llm.call_failed", provider=provider.name, kind=type(failure).__name__, error=failure.kind)
        return skipped


def _matches_hint(provider: Provider, hint: str | None) -> bool:
    return hint is not None and hint in (provider.type, provider.name, str(provider.id))


def _continued(request: ChatRequest, text: str) -> ChatRequest:
    continuation = (Message("assistant", (Text(text),)), Message("user", (Text(_CONTINUE),)))
    return replace(request, messages=(*request.messages, *continuation))
