"""Asks the providers in the administrator's order until one answers, and leaves the failing ones alone."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

import structlog

from netstacks.errors import InvalidInput
from netstacks.llm.answer import Answer, AnswerBuilder
from netstacks.llm.conversation import (
    ChatRequest,
    Finished,
    Message,
    Piece,
    Text,
    TextDelta,
    ToolInputDelta,
    Usage,
    Waiting,
)
from netstacks.llm.failures import (
    AllResting,
    CallCancelled,
    Incomplete,
    NoAnswer,
    NotConfigured,
    ProviderFailure,
    ProviderTimeout,
    StreamCut,
)
from netstacks.llm.limits import Limits, TokensToday
from netstacks.llm.outcomes import Answering, Attempt, Hint, OnAttempt, Seam, Skipped
from netstacks.llm.provider import Provider
from netstacks.llm.statistics import Statistics

log = structlog.get_logger()

# What is left of the total must be enough for a provider to begin.
_LEAST_SECS = 1.0
# A rough count where a provider did not come to tell its own: about four characters are one token.
_CHARACTERS_PER_TOKEN = 4
# A reader who sees the answer grow waits longer than one who sees nothing: by this factor of a provider's total.
_STREAM_FACTOR = 4
# How often it is asked whether an answer is still wanted.
_WANTED_SECS = 1.0

_CONTINUE = (
    "Your answer was cut off by a network fault. Continue it exactly after its last character. Do not repeat any of"
    " it and do not comment on the interruption."
)


class Client(Protocol):
    """One provider's client."""

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        """The pieces of the answer; closing the generator cancels the call. Raises ProviderFailure."""


class Breaker(Protocol):
    """One provider's and model's circuit."""

    @property
    def is_closed(self) -> bool:
        """Whether calls may be made."""

    def retry_after_secs(self) -> float:
        """How long the circuit is still open."""

    def record(self, outcome: ProviderFailure | None, *, began_at: float) -> None:
        """Tells how a call ended that began at `began_at` of the monotonic clock: None is a success."""


class Providers(Protocol):
    """The administrator's list as this instance knows it."""

    def providers(self) -> list[Provider]:
        """The enabled ones in their order."""

    def client(self, provider: Provider) -> Client:
        """The provider's client, which is kept."""


def _ignore(_: Attempt) -> None:
    pass


@dataclass
class _Question:
    request: ChatRequest
    user_id: UUID
    deadline: float
    candidates: list[tuple[Provider, str]]
    patience: int
    """The factor of each provider's total."""
    today: TokensToday
    on_attempt: OnAttempt
    skipped: list[Skipped] = field(default_factory=list)
    retry_after_secs: list[float] = field(default_factory=list)
    """Of those that were not asked."""
    failures: list[ProviderFailure] = field(default_factory=list)

    def error(self) -> NoAnswer | AllResting:
        """Why there is no answer, in words for the user."""
        reasons = "; ".join(f"{each.provider} {each.why}" for each in self.skipped)
        if not self.failures and self.retry_after_secs:
            secs = max(1.0, min(self.retry_after_secs))
            return AllResting(f"No AI provider is available for the next {secs:.0f} s: {reasons}.", secs)
        timed_out = bool(self.failures) and isinstance(self.failures[-1], ProviderTimeout)
        return NoAnswer(f"No AI provider answered: {reasons or 'the time ran out'}.", timed_out=timed_out)


class Orchestrator:
    """`breaker` finds a circuit.

    `on_attempt` of a question hears of each of its calls when it has ended; it must not raise.
    """

    def __init__(self, directory: Providers, breaker: Callable[[Provider, str], Breaker], limits: Limits) -> None:
        self._directory = directory
        self._breaker = breaker
        self._limits = limits
        self.statistics = Statistics()

    @contextmanager
    def place(self, user_id: UUID, *, is_background: bool = False) -> Iterator[None]:
        """Holds one of the user's places: taken before a question is prepared, which may cost more than to ask it.

        A question that `is_background` is one that a page asks by itself, which takes no place of what its user asks.
        Raises NotConfigured and TooManyCalls.
        """
        providers = self._providers()
        self._limits.check_user(user_id, self._limits.today(user_id, providers), is_background=is_background)
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
        """The whole answer. A provider that breaks off is replaced by the next one, which begins anew.

        `is_wanted` is asked about once a second while the answer is waited for. Raises CallCancelled when it is not
        wanted any more, and NotConfigured, AllResting and NoAnswer.
        """
        question = self._question(request, user_id, hint, total_secs, 1, on_attempt)
        looked_at = time.monotonic()
        for provider, model in self._admitted(question):
            builder = AnswerBuilder()
            try:
                with closing(self._pieces(question, provider, model, request, builder)) as pieces:
                    for piece in pieces:
                        if isinstance(piece, Waiting) or time.monotonic() - looked_at >= _WANTED_SECS:
                            looked_at = time.monotonic()
                            if not is_wanted():
                                raise CallCancelled("is no longer wanted")
            except CallCancelled:
                raise
            except ProviderFailure as failure:
                _skip(question, provider, failure)
                continue
            return replace(builder.answer(), provider=provider.name, model=model, skipped=tuple(question.skipped))
        raise question.error()

    def stream(
        self,
        request: ChatRequest,
        user_id: UUID,
        hint: Hint,
        *,
        total_secs: float,
        on_attempt: OnAttempt = _ignore,
    ) -> Generator[Answering | Seam | Piece]:
        """Answering, then the pieces of the answer. Closing the generator cancels the call.

        Nothing but Waiting is told before the first piece has come, so that a switch before it is invisible. After it,
        Seam tells of a switch, and the next provider continues the text that the reader has. Raises what `complete`
        raises before the first piece, and Incomplete after it.
        """
        patience = _STREAM_FACTOR
        question = self._question(request, user_id, hint, total_secs, patience, on_attempt)
        yield from self._stream(question)

    def _stream(self, question: _Question) -> Generator[Answering | Seam | Piece]:
        told = AnswerBuilder()
        broken_off: Skipped | None = None
        for provider, model in self._admitted(question):
            if not told.text.strip():
                # Nothing that was said has reached the reader: the answer begins anew.
                told = AnswerBuilder()
            request = _continued(question.request, told.text) if told.text else question.request
            with closing(self._pieces(question, provider, model, request, told)) as pieces:
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
                        yield Answering(provider, model, tuple(question.skipped))
                    else:
                        yield Seam(broken_off.provider, broken_off.why, provider, model)
                    yield from blank
                    yield first
                    yield from pieces
                    return
                except CallCancelled:
                    raise
                except ProviderFailure as failure:
                    skipped = _skip(question, provider, failure)
                    if told.tool_uses_begun:
                        # The halves of a tool call by two models do not fit together.
                        raise Incomplete(f"The answer is incomplete: {provider.name} {skipped.why}.") from failure
                    if told.text.strip():
                        broken_off = skipped
        if told.text.strip():
            raise Incomplete(f"The answer is incomplete. {question.error()}")
        raise question.error()

    def _question(
        self,
        request: ChatRequest,
        user_id: UUID,
        hint: Hint,
        total_secs: float,
        patience: int,
        on_attempt: OnAttempt,
    ) -> _Question:
        providers = self._providers()
        today = self._limits.today(user_id, providers)
        ordered = sorted(providers, key=lambda each: not _is_meant(each, hint.provider))
        candidates = [(each, each.model(hint.model)) for each in ordered]
        deadline = time.monotonic() + total_secs
        return _Question(request, user_id, deadline, candidates, patience, today, on_attempt)

    def _providers(self) -> list[Provider]:
        providers = self._directory.providers()
        if not providers:
            raise NotConfigured("AI is not configured on this controller. An administrator can add a provider.")
        return providers

    def _admitted(self, question: _Question) -> Iterator[tuple[Provider, str]]:
        """Those that may be asked now, in order; the others are skipped without waiting."""
        for provider, model in question.candidates:
            breaker = self._breaker(provider, model)
            if not breaker.is_closed:
                secs = breaker.retry_after_secs()
                question.skipped.append(Skipped(provider.name, f"is left alone for {secs:.0f} s after failures"))
                question.retry_after_secs.append(secs)
            elif obstacle := self._limits.obstacle(provider, question.today):
                why, secs = obstacle
                question.skipped.append(Skipped(provider.name, why))
                question.retry_after_secs.append(secs)
            elif question.deadline - time.monotonic() < _LEAST_SECS:
                question.skipped.append(Skipped(provider.name, "was not asked, because the time ran out"))
            else:
                yield provider, model

    def _pieces(
        self, question: _Question, provider: Provider, model: str, request: ChatRequest, builder: AnswerBuilder
    ) -> Generator[Piece]:
        """One call. Its outcome is told to the circuit, the statistics and `on_attempt`."""
        began_at = time.monotonic()
        failure: ProviderFailure | None = None
        usage: Usage | None = None
        characters, is_over, was_asked = 0, False, True
        total_secs = min(question.deadline - began_at, provider.total_secs * question.patience)
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
                            # A tool call goes to a program, which reads no notes.
                            if not builder.tool_uses_begun and (why := _why_incomplete(piece, request)):
                                builder.why_incomplete = why
                                note = TextDelta(f"\n\n[The answer is incomplete: {why}.]")
                                builder.add(note)
                                yield note
                        # What follows a broken tool call is held back until the end tells what to make of it.
                        if builder.broken_tool_use is None or isinstance(piece, Waiting):
                            yield piece
            except InvalidInput:
                was_asked = False
                raise
            except CallCancelled:
                raise
            except ProviderFailure as error:
                failure, is_over = error, True
                raise
            finally:
                took_secs = time.monotonic() - began_at
                # A call that its caller abandoned says nothing about the provider, and has cost tokens all the same.
                # Nor does one that got less time than the provider may take, unless its model had fallen silent.
                got_less = total_secs < provider.total_secs * question.patience and took_secs >= total_secs
                if isinstance(failure, ProviderTimeout) and got_less:
                    is_over = failure.silent_secs >= provider.first_token_secs
                if is_over:
                    self._breaker(provider, model).record(failure, began_at=began_at)
                    self.statistics.add(provider.id, took_secs, failed=failure is not None)
                if was_asked:
                    spent = _spent(request, usage, characters, failure)
                    self._limits.spend(question.user_id, provider.id, spent.total_tokens)
                    outcome = type(failure).__name__ if failure else "answered" if is_over else "abandoned"
                    question.on_attempt(Attempt(question.user_id, provider, model, spent, took_secs, failure, outcome))


def _skip(question: _Question, provider: Provider, failure: ProviderFailure) -> Skipped:
    skipped = Skipped(provider.name, str(failure))
    question.skipped.append(skipped)
    question.failures.append(failure)
    log.warning("llm.call_failed", provider=provider.name, kind=type(failure).__name__, error=failure.kind)
    return skipped


def _is_meant(provider: Provider, hint: str | None) -> bool:
    return hint is not None and hint in (provider.type, provider.name, str(provider.id))


def _continued(request: ChatRequest, text: str) -> ChatRequest:
    said = (Message("assistant", (Text(text),)), Message("user", (Text(_CONTINUE),)))
    return replace(request, messages=(*request.messages, *said))


def _why_incomplete(end: Finished, request: ChatRequest) -> str:
    if end.stop_reason == "max_tokens" and not end.why_incomplete:
        return f"it reached its limit of {request.max_tokens} tokens"
    return end.why_incomplete


def _spent(request: ChatRequest, usage: Usage | None, characters: int, failure: ProviderFailure | None) -> Usage:
    """What a call cost: what the provider counted, else an estimate, unless the provider did no work for it."""
    if usage is not None and usage.total_tokens:
        return usage
    has_worked = isinstance(failure, StreamCut) or (isinstance(failure, ProviderTimeout) and failure.was_sent)
    if failure is not None and not characters and not has_worked:
        return Usage()
    return _estimated(request, characters)


def _estimated(request: ChatRequest, characters: int) -> Usage:
    asked = len(request.system) + sum(len(str(block)) for message in request.messages for block in message.blocks)
    return Usage(asked // _CHARACTERS_PER_TOKEN, characters // _CHARACTERS_PER_TOKEN)
