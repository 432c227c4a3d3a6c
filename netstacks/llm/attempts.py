"""One call to one provider, and the recording of its outcome."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from uuid import UUID

from netstacks.errors import InvalidInput
from netstacks.llm.answer import AnswerBuilder
from netstacks.llm.conversation import ChatRequest, Finished, Piece, TextDelta, ToolInputDelta, Usage, Waiting
from netstacks.llm.failures import (
    AllResting,
    CallCancelled,
    NoAnswer,
    ProviderFailure,
    ProviderTimeout,
    RateLimited,
    StreamCut,
)
from netstacks.llm.limits import Limits, TokensToday
from netstacks.llm.outcomes import Attempt, OnAttempt, Skipped
from netstacks.llm.protocols import Breaker, Providers
from netstacks.llm.provider import Provider
from netstacks.llm.statistics import Statistics

# For the estimate where a provider sent no count: about four characters are one token.
_CHARACTERS_PER_TOKEN = 4


@dataclass
class PendingRequest:
    """A request of a user while providers are tried for it."""

    request: ChatRequest
    user_id: UUID
    deadline: float
    """By the monotonic clock."""
    candidates: list[tuple[Provider, str]]
    total_factor: int
    """By which each provider's `total_secs` is multiplied."""
    today: TokensToday
    on_attempt: OnAttempt
    skipped: list[Skipped] = field(default_factory=list)
    retry_after_secs: list[float] = field(default_factory=list)
    """Of the providers that were skipped because of their circuit or a limit, or that limit the rate of requests."""
    failures: list[ProviderFailure] = field(default_factory=list)
    """Of the providers that were called, in order."""

    def error(self) -> NoAnswer | AllResting:
        """Why there is no answer, in words for the user."""
        reasons = "; ".join(f"{each.provider} {each.why}" for each in self.skipped)
        if self.retry_after_secs and all(isinstance(each, RateLimited) for each in self.failures):
            secs = max(1.0, min(self.retry_after_secs))
            return AllResting(f"No AI provider is available for the next {secs:.0f} s: {reasons}.", secs)
        timed_out = bool(self.failures) and isinstance(self.failures[-1], ProviderTimeout)
        return NoAnswer(f"No AI provider answered: {reasons or 'the time ran out'}.", timed_out=timed_out)


class Attempts:
    """Makes the calls. `breaker` finds the circuit of a provider and model."""

    def __init__(self, directory: Providers, breaker: Callable[[Provider, str], Breaker], limits: Limits) -> None:
        self._directory = directory
        self._breaker = breaker
        self._limits = limits
        self.statistics = Statistics()

    def run(
        self, pending: PendingRequest, provider: Provider, model: str, request: ChatRequest, builder: AnswerBuilder
    ) -> Generator[Piece]:
        """The pieces of one call, which `builder` gets too. Closing the generator cancels the call.

        The outcome is recorded in the circuit, the limits and the statistics, and given to `on_attempt`. Raises
        ProviderFailure, and InvalidInput when the request has no message.
        """
        began_at = time.monotonic()
        failure: ProviderFailure | None = None
        usage: Usage | None = None
        characters, is_over, was_sent = 0, False, True
        total_secs = min(pending.deadline - began_at, provider.total_secs * pending.total_factor)
        with self._limits.providers.taken(provider.id):
            try:
                with closing(self._directory.client(provider).stream(request, model, total_secs=total_secs)) as pieces:
                    for piece in pieces:
                        match piece:
                            case TextDelta(text) | ToolInputDelta(text):
                                characters += len(text)
                            case Finished():
                                usage = piece.usage
                        builder.add(piece)
                        if isinstance(piece, Finished):
                            is_over = True
                            # No note beside a tool call: a program reads that.
                            if not builder.tool_uses_begun and (why := _why_incomplete(piece, request)):
                                builder.why_incomplete = why
                                note = TextDelta(f"\n\n[The answer is incomplete: {why}.]")
                                builder.add(note)
                                yield note
                        # Pieces after a broken tool call are held back: the end decides which failure it is.
                        if builder.broken_tool_use is None or isinstance(piece, Waiting):
                            yield piece
            except InvalidInput:
                was_sent = False
                raise
            except CallCancelled:
                raise
            except ProviderFailure as error:
                failure, is_over = error, True
                raise
            finally:
                took_secs = time.monotonic() - began_at
                # A call that its caller abandoned proves nothing about the provider, and has cost tokens. A call with
                # less time than the provider may take proves nothing either, unless the model had stopped sending.
                got_less = total_secs < provider.total_secs * pending.total_factor and took_secs >= total_secs
                if isinstance(failure, ProviderTimeout) and got_less:
                    is_over = failure.silent_secs >= provider.first_token_secs
                if is_over:
                    self._breaker(provider, model).record(failure, began_at=began_at)
                    self.statistics.add(provider.id, took_secs, failed=failure is not None)
                if was_sent:
                    spent = _spent(request, usage, characters, failure)
                    self._limits.spend(pending.user_id, provider.id, spent.total_tokens)
                    outcome = type(failure).__name__ if failure else "answered" if is_over else "abandoned"
                    pending.on_attempt(Attempt(pending.user_id, provider, model, spent, took_secs, failure, outcome))


def _why_incomplete(end: Finished, request: ChatRequest) -> str:
    if end.stop_reason == "max_tokens" and not end.why_incomplete:
        return f"it reached its limit of {request.max_tokens} tokens"
    return end.why_incomplete


def _spent(request: ChatRequest, usage: Usage | None, characters: int, failure: ProviderFailure | None) -> Usage:
    """The tokens of a call: the provider's count, else an estimate, or none if the provider did no work."""
    if usage is not None and usage.total_tokens:
        return usage
    has_worked = isinstance(failure, StreamCut) or (isinstance(failure, ProviderTimeout) and failure.was_sent)
    if failure is not None and not characters and not has_worked:
        return Usage()
    return _estimated(request, characters)


def _estimated(request: ChatRequest, characters: int) -> Usage:
    asked = len(request.system) + sum(len(str(block)) for message in request.messages for block in message.blocks)
    return Usage(asked // _CHARACTERS_PER_TOKEN, characters // _CHARACTERS_PER_TOKEN)
