"""Which provider is asked, what its failures lead to, and what the reader is told."""

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
import structlog

from netstacks.errors import InvalidInput
from netstacks.llm import attempts, orchestrator
from netstacks.llm.conversation import (
    ChatRequest,
    Finished,
    Message,
    Piece,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseEnd,
    ToolUseStart,
    Usage,
    Waiting,
)
from netstacks.llm.failures import (
    AllResting,
    CallCancelled,
    Incomplete,
    NoAnswer,
    NotConfigured,
    ProviderBroken,
    ProviderFailure,
    ProviderRefused,
    ProviderTimeout,
    RateLimited,
    StreamCut,
    TooManyCalls,
)
from netstacks.llm.limits import Limits, TokensToday
from netstacks.llm.orchestrator import Orchestrator
from netstacks.llm.outcomes import Answering, Attempt, Hint, ProviderSwitch
from netstacks.llm.provider import Provider

USER = uuid4()
QUESTION = ChatRequest((Message("user", (Text("What is up?"),)),))
DONE = Finished("end_turn", Usage(10, 5))


def provider(name: str, position: int, **members: object) -> Provider:
    entry = Provider(
        id=uuid4(),
        revision=1,
        name=name,
        type="custom",
        base_url="http://127.0.0.1:1",
        models=("big", "small"),
        key=None,
        position=position,
        enabled=True,
        connect_secs=1,
        first_token_secs=1,
        total_secs=30,
        max_concurrent=0,
        daily_tokens=0,
    )
    return replace(entry, **members)  # type: ignore[arg-type]


class FakeClient:
    """Plays one script after the other: pieces are yielded, failures are raised."""

    def __init__(self) -> None:
        self.scripts: list[list[Piece | ProviderFailure]] = []
        self.requests: list[ChatRequest] = []
        self.models: list[str] = []
        self.cancelled = 0
        self.totals: list[float] = []

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        self.requests.append(request)
        self.models.append(model)
        self.totals.append(total_secs)
        try:
            for step in self.scripts.pop(0):
                if isinstance(step, ProviderFailure):
                    raise step
                yield step
        except GeneratorExit:
            self.cancelled += 1
            raise


class FakeBreaker:
    def __init__(self) -> None:
        self.is_closed = True
        self.open_secs = 0.0
        self.outcomes: list[ProviderFailure | None] = []

    def retry_after_secs(self) -> float:
        return self.open_secs

    def record(self, outcome: ProviderFailure | None, *, began_at: float) -> None:
        self.outcomes.append(outcome)


class World:
    def __init__(self, *entries: Provider, today: TokensToday | None = None, **limits: int) -> None:
        self.entries = list(entries)
        self.clients = {each.id: FakeClient() for each in entries}
        self.breakers = {each.id: FakeBreaker() for each in entries}
        self.attempts: list[Attempt] = []
        self.limits = Limits(lambda _: today or TokensToday(), **limits)
        self.orchestrator = Orchestrator(self, lambda each, _: self.breakers[each.id], self.limits)

    def providers(self) -> list[Provider]:
        return self.entries

    def client(self, entry: Provider) -> FakeClient:
        return self.clients[entry.id]

    def script(self, number: int, *steps: Piece | ProviderFailure) -> FakeClient:
        client = self.clients[self.entries[number].id]
        client.scripts.append(list(steps))
        return client

    def breaker(self, number: int) -> FakeBreaker:
        return self.breakers[self.entries[number].id]

    def ask(self, hint: Hint = Hint(), secs: float = 28) -> object:  # noqa: B008
        return self.orchestrator.complete(QUESTION, USER, hint, total_secs=secs, on_attempt=self.attempts.append)

    def read(self, hint: Hint = Hint()) -> list[object]:  # noqa: B008
        return list(self.begin(hint))

    def begin(self, hint: Hint = Hint()) -> Generator[object]:  # noqa: B008
        return self.orchestrator.stream(QUESTION, USER, hint, total_secs=120, on_attempt=self.attempts.append)


@pytest.fixture
def two() -> World:
    return World(provider("first", 0), provider("second", 1, type="openai"))


def complete(world: World) -> object:
    return world.ask()


def stream(world: World) -> object:
    return world.read()


both = pytest.mark.parametrize("ask", [complete, stream])


def test_the_first_provider_answers(two: World) -> None:
    two.script(0, TextDelta("All "), TextDelta("is well."), DONE)
    answer = two.ask()
    assert (answer.text, answer.provider, answer.model, answer.skipped) == ("All is well.", "first", "big", ())
    assert two.breaker(0).outcomes == [None]
    assert [(each.usage, each.failure, each.outcome) for each in two.attempts] == [(Usage(10, 5), None, "answered")]


@pytest.mark.parametrize(
    "failure",
    [ProviderTimeout("is slow"), ProviderBroken("is ill"), RateLimited("is busy", 9), ProviderRefused("no", 401)],
)
def test_a_failure_before_the_first_piece_is_invisible(two: World, failure: ProviderFailure) -> None:
    two.script(0, failure)
    two.script(1, TextDelta("Hello"), DONE)
    first, *pieces = two.read()
    assert isinstance(first, Answering)
    assert first.provider.name == "second"
    assert [(each.provider, each.why) for each in first.skipped] == [("first", str(failure))]
    assert pieces == [TextDelta("Hello"), DONE]
    assert two.breaker(0).outcomes == [failure]


def test_an_open_circuit_is_skipped_without_a_call(two: World) -> None:
    two.breaker(0).is_closed, two.breaker(0).open_secs = False, 17.0
    two.script(1, TextDelta("Hello"), DONE)
    answer = two.ask()
    assert answer.provider == "second"
    assert "17 s" in answer.skipped[0].why
    assert not two.clients[two.entries[0].id].requests
    assert two.breaker(0).outcomes == []


@both
def test_all_open_says_when_to_come_again(two: World, ask: Callable[[World], object]) -> None:
    for number, secs in ((0, 40.0), (1, 12.0)):
        two.breaker(number).is_closed, two.breaker(number).open_secs = False, secs
    with pytest.raises(AllResting) as raised:
        ask(two)
    assert raised.value.retry_after_secs == 12.0
    assert "12 s" in str(raised.value)


@both
def test_rate_limits_of_all_say_when_to_come_again(two: World, ask: Callable[[World], object]) -> None:
    for number, secs in ((0, 40.0), (1, 12.0)):
        two.script(number, RateLimited("answered 429", secs))
        two.breaker(number).open_secs = secs
    with pytest.raises(AllResting, match="12 s: first answered 429; second answered 429") as raised:
        ask(two)
    assert raised.value.retry_after_secs == 12.0


@both
def test_a_rate_limit_beside_a_failure_is_no_time_to_come_again(two: World, ask: Callable[[World], object]) -> None:
    two.script(0, RateLimited("answered 429", 40.0))
    two.script(1, ProviderBroken("answered 500"))
    with pytest.raises(NoAnswer, match="first answered 429; second answered 500"):
        ask(two)


@both
def test_all_failed_names_each_reason(two: World, ask: Callable[[World], object]) -> None:
    two.script(0, ProviderBroken("answered 500"))
    two.script(1, ProviderTimeout("sent no first token in 15 s"))
    with pytest.raises(NoAnswer, match="first answered 500; second sent no first token") as raised:
        ask(two)
    assert raised.value.timed_out


def test_a_cut_answer_begins_anew_for_a_reader_that_has_seen_nothing(two: World) -> None:
    two.script(0, TextDelta("All is"), StreamCut("broke off"))
    two.script(1, TextDelta("All is well."), DONE)
    assert two.ask().text == "All is well."


def test_a_switch_after_the_first_piece_is_a_seam_and_repeats_nothing(two: World) -> None:
    two.script(0, TextDelta("All "), TextDelta("is"), StreamCut("broke off"))
    client = two.script(1, TextDelta(" well."), DONE)
    told = two.read()
    assert [type(each).__name__ for each in told] == [
        "Answering",
        "TextDelta",
        "TextDelta",
        "ProviderSwitch",
        "TextDelta",
        "Finished",
    ]
    seam = told[3]
    assert isinstance(seam, ProviderSwitch)
    assert (seam.before, seam.why, seam.provider.name) == ("first", "broke off", "second")
    *_, said, order = client.requests[0].messages
    assert said == Message("assistant", (Text("All is"),))
    assert order.role == "user"


def test_an_answer_that_no_provider_can_finish_is_called_incomplete(two: World) -> None:
    two.script(0, TextDelta("All "), StreamCut("broke off"))
    two.script(1, ProviderBroken("answered 500"))
    stream = two.begin()
    next(stream)
    assert next(stream) == TextDelta("All ")
    with pytest.raises(Incomplete, match=r"incomplete.*broke off.*answered 500"):
        next(stream)


def test_a_tool_call_is_never_put_together_from_two_models(two: World) -> None:
    two.script(0, ToolUseStart("1", "show"), ToolInputDelta('{"a"'), StreamCut("broke off"))
    with pytest.raises(Incomplete, match="first broke off"):
        two.read()
    assert not two.clients[two.entries[1].id].requests


def test_tool_calls_are_collected(two: World) -> None:
    calls = [ToolUseStart("1", "show"), ToolInputDelta('{"a"'), ToolInputDelta(":1}"), ToolUseEnd()]
    calls += [ToolUseStart("2", "list"), ToolUseEnd()]
    two.script(0, *calls, Finished("tool_use"))
    answer = two.ask()
    assert answer.tool_uses == (ToolUse("1", "show", {"a": 1}), ToolUse("2", "list", {}))
    assert answer.stop_reason == "tool_use"


def test_a_tool_call_with_broken_input_is_a_failure(two: World) -> None:
    two.script(0, ToolUseStart("1", "show"), ToolInputDelta("{oops"), ToolUseEnd(), DONE)
    two.script(1, TextDelta("Hello"), DONE)
    assert two.ask().provider == "second"
    assert isinstance(two.breaker(0).outcomes[0], ProviderBroken)


CUT_TOOL_CALL = [ToolUseStart("1", "show"), ToolInputDelta('{"a": "b'), ToolUseEnd(), Finished("max_tokens")]


def test_a_tool_call_that_the_limit_of_tokens_cut_is_not_the_providers_failure(two: World) -> None:
    two.script(0, *CUT_TOOL_CALL)
    two.script(1, TextDelta("Hello"), DONE)
    answer = two.ask()
    assert [(each.provider, each.why) for each in answer.skipped] == [("first", "used all its tokens in a tool call")]
    assert [each.verdict for each in two.breaker(0).outcomes if each] == ["neutral"]


def test_a_reader_is_told_no_end_of_a_tool_call_that_is_broken(two: World) -> None:
    two.script(0, *CUT_TOOL_CALL)
    told = two.begin()
    assert [next(told) for _ in range(3)][1:] == CUT_TOOL_CALL[:2]
    with pytest.raises(Incomplete, match="used all its tokens in a tool call"):
        next(told)


@pytest.mark.parametrize(
    ("end", "note"),
    [
        (Finished("max_tokens"), "\n\n[The answer is incomplete: it reached its limit of 4096 tokens.]"),
        (Finished(None, Usage(), "the provider's filter ended it"),
         "\n\n[The answer is incomplete: the provider's filter ended it.]"),
        (Finished("end_turn"), ""),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_whole_says_so(two: World, end: Finished, note: str) -> None:
    for _ in range(2):
        two.script(0, TextDelta("All is"), end)
    answer = two.ask()
    assert (answer.text, answer.stop_reason) == (f"All is{note}", end.stop_reason)
    _, *pieces = two.read()
    assert pieces == [TextDelta("All is"), *([TextDelta(note)] if note else []), end]


def test_a_tool_call_gets_no_note(two: World) -> None:
    pieces = [ToolUseStart("1", "show"), ToolInputDelta("{}"), ToolUseEnd(), Finished("max_tokens")]
    two.script(0, *pieces)
    assert two.read()[1:] == pieces


@pytest.mark.parametrize(
    ("steps", "costs"),
    [
        # A provider that counts nothing.
        ([TextDelta("x" * 40), Finished("end_turn")], (5, 10)),
        ([ToolUseStart("1", "show"), ToolInputDelta('{"a": "' + "x" * 31 + '"}'), ToolUseEnd(), Finished("tool_use")],
         (5, 10)),
        ([ToolUseStart("1", "show"), ToolInputDelta("x" * 40), ProviderBroken("is ill")], (5, 10)),
        # It has the question and may work at it until the end.
        ([ProviderTimeout("did not begin to answer")], (5, 0)),
        ([StreamCut("broke off")], (5, 0)),
        ([ProviderTimeout("could not be reached", was_sent=False)], (0, 0)),
        ([ProviderBroken("answered 500")], (0, 0)),
        ([TextDelta("x" * 40), Finished("end_turn", Usage(3, 4))], (3, 4)),
    ],
)  # fmt: skip
def test_tokens_that_the_provider_does_not_count_are_estimated(
    steps: list[Piece | ProviderFailure], costs: tuple[int, int]
) -> None:
    world = World(provider("first", 0))
    world.script(0, *steps)
    with suppress(NoAnswer):
        world.ask()
    [usage] = [each.usage for each in world.attempts]
    # The estimate of a question counts its frame too.
    assert (usage.input_tokens >= costs[0], usage.output_tokens) == (True, costs[1])
    assert bool(usage.input_tokens) == bool(costs[0])


@both
def test_each_attempt_is_told_with_its_outcome(two: World, ask: Callable[[World], object]) -> None:
    two.script(0, ProviderTimeout("is slow"))
    two.script(1, TextDelta("Hello"), DONE)
    ask(two)
    assert [(each.provider.name, each.outcome) for each in two.attempts] == [
        ("first", "ProviderTimeout"),
        ("second", "answered"),
    ]


@both
def test_the_log_has_no_words_of_the_provider(two: World, ask: Callable[[World], object]) -> None:
    two.script(0, ProviderBroken("answered 500", ": cannot read What is up?"))
    two.script(1, TextDelta("Hello"), DONE)
    with structlog.testing.capture_logs() as logged:
        ask(two)
    assert [each["error"] for each in logged] == ["answered 500"]


@pytest.mark.parametrize("pieces_read", [1, 2])
def test_an_abandoned_stream_says_nothing_about_the_provider(two: World, pieces_read: int) -> None:
    client = two.script(0, TextDelta("All "), TextDelta("is well."), DONE)
    with closing(two.begin()) as told:
        for _ in range(pieces_read):
            next(told)
    assert client.cancelled == 1
    assert two.breaker(0).outcomes == []
    assert two.attempts[0].usage.total_tokens > 0
    assert (two.attempts[0].failure, two.attempts[0].outcome) == (None, "abandoned")
    assert two.limits.providers.in_use(two.entries[0].id) == 0


def test_a_reader_that_leaves_after_the_end_leaves_a_success(two: World) -> None:
    two.script(0, TextDelta("Hello"), DONE)
    with closing(two.begin()) as told:
        while not isinstance(next(told), Finished):
            pass
    assert two.breaker(0).outcomes == [None]


@pytest.mark.parametrize(
    ("hint", "provider_name", "model"),
    [
        (Hint(), "first", "big"),
        (Hint("openai", "small"), "second", "small"),
        (Hint("second"), "second", "big"),
        (Hint("anthropic", "claude-sonnet-4-20250514"), "first", "big"),
    ],
)
def test_the_client_gives_hints(two: World, hint: Hint, provider_name: str, model: str) -> None:
    for number in (0, 1):
        two.script(number, TextDelta("Hello"), DONE)
    answer = two.ask(hint)
    assert (answer.provider, answer.model) == (provider_name, model)


def test_an_answer_that_is_no_longer_wanted_is_cancelled(two: World) -> None:
    client = two.script(0, Waiting(), TextDelta("Hello"), DONE)
    with pytest.raises(CallCancelled):
        two.orchestrator.complete(QUESTION, USER, Hint(), total_secs=28, is_wanted=lambda: False)
    assert client.cancelled == 1
    assert two.breaker(0).outcomes == []
    assert not two.clients[two.entries[1].id].requests


def test_it_is_asked_whether_an_answer_is_wanted_while_pieces_come() -> None:
    world = World(provider("first", 0))

    def busy(*_: object, **__: object) -> Generator[Piece]:
        for _ in range(20):
            time.sleep(0.1)
            yield TextDelta("Hello")
        yield DONE

    world.clients[world.entries[0].id].stream = busy  # type: ignore[method-assign]
    with pytest.raises(CallCancelled):
        world.orchestrator.complete(QUESTION, USER, Hint(), total_secs=28, is_wanted=lambda: False)


def test_a_call_that_ends_as_cancelled_is_not_tried_elsewhere(two: World) -> None:
    two.script(0, TextDelta("Hello"), CallCancelled("was not read"))
    with pytest.raises(CallCancelled):
        two.read()
    assert not two.clients[two.entries[1].id].requests
    assert two.attempts[0].outcome == "abandoned"


def test_waiting_is_told_before_the_answer_and_hides_no_switch(two: World) -> None:
    two.script(0, Waiting(), ProviderTimeout("is slow"))
    two.script(1, Waiting(), TextDelta("Hello"), Waiting(), DONE)
    names = [type(each).__name__ for each in two.read()]
    assert names == ["Waiting", "Waiting", "Answering", "TextDelta", "Waiting", "Finished"]


def test_none_configured() -> None:
    with pytest.raises(NotConfigured, match="administrator"):
        World().ask()


def test_a_busy_provider_is_skipped() -> None:
    world = World(provider("first", 0, max_concurrent=1), provider("second", 1))
    world.script(1, TextDelta("Hello"), DONE)
    with world.limits.providers.taken(world.entries[0].id):
        assert world.ask().provider == "second"
    world.script(0, TextDelta("Hello"), DONE)
    assert world.ask().provider == "first"


def test_a_provider_without_tokens_is_skipped() -> None:
    first = provider("first", 0, daily_tokens=100)
    world = World(first, provider("second", 1), today=TokensToday(0, {first.id: 100}))
    world.script(1, TextDelta("Hello"), DONE)
    assert "tokens of today" in world.ask().skipped[0].why


def test_a_users_places_are_limited() -> None:
    orchestrator = World(provider("first", 0), user_concurrency=1).orchestrator
    with orchestrator.slot(USER), pytest.raises(TooManyCalls, match="1 AI requests"), orchestrator.slot(USER):
        pass
    with orchestrator.slot(USER):
        pass


def test_calls_that_a_page_makes_by_itself_have_slots_of_their_own() -> None:
    orchestrator = World(provider("first", 0), user_concurrency=1).orchestrator
    with ExitStack() as highlights:
        # The client asks for errors, security and anomalies at once.
        for _ in range(3):
            highlights.enter_context(orchestrator.slot(USER, is_background=True))
        with (
            pytest.raises(TooManyCalls, match="3 AI requests in progress in the background"),
            orchestrator.slot(USER, is_background=True),
        ):
            pass
        with orchestrator.slot(USER):
            pass


def test_a_users_day_is_limited() -> None:
    orchestrator = World(provider("first", 0), today=TokensToday(1000), user_daily_tokens=1000).orchestrator
    with pytest.raises(TooManyCalls, match="1,000 AI tokens"), orchestrator.slot(USER):
        pass


@pytest.mark.parametrize("blank", ["\n\n", " "])
def test_blank_text_before_a_failure_is_invisible(two: World, blank: str) -> None:
    two.script(0, TextDelta(blank), StreamCut("broke off"))
    second = two.script(1, TextDelta(blank), TextDelta("Hello"), DONE)
    first, *pieces = two.read()
    assert isinstance(first, Answering)
    assert first.provider.name == "second"
    assert pieces == [TextDelta(blank), TextDelta("Hello"), DONE]
    assert second.requests == [QUESTION]


def test_a_question_that_cannot_be_sent_costs_nothing(two: World) -> None:
    def refuse(*_: object, **__: object) -> Generator[Piece]:
        raise InvalidInput("the messages have no text")
        yield DONE

    two.clients[two.entries[0].id].stream = refuse  # type: ignore[method-assign]
    with pytest.raises(InvalidInput):
        two.ask()
    assert two.attempts == []
    assert two.breaker(0).outcomes == []


def test_tokens_count_before_the_sums_are_read_again() -> None:
    world = World(provider("first", 0), user_daily_tokens=15)
    world.script(0, TextDelta("Hello"), DONE)
    with world.orchestrator.slot(USER):
        world.ask()
    with pytest.raises(TooManyCalls, match="15 AI tokens"), world.orchestrator.slot(USER):
        pass


def test_the_total_is_one_for_all_providers(two: World) -> None:
    two.script(0, ProviderTimeout("is slow"))
    second = two.script(1, TextDelta("Hello"), DONE)
    two.ask(secs=10)
    assert second.totals[0] <= 10


@pytest.mark.parametrize(("silent_secs", "is_blamed"), [(0.5, False), (1.1, True)])
def test_a_provider_that_got_too_little_time_is_blamed_if_it_fell_silent(
    silent_secs: float, is_blamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(provider("first", 0, total_secs=30, first_token_secs=1))
    now = 1000.0
    for module in (orchestrator, attempts):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))

    def slow(*_: object, **__: object) -> Generator[Piece]:
        nonlocal now
        now += 1.2
        raise ProviderTimeout("did not finish its answer within 1.1 s", silent_secs=silent_secs)
        yield DONE

    world.clients[world.entries[0].id].stream = slow  # type: ignore[method-assign]
    with pytest.raises(NoAnswer):
        world.ask(secs=1.1)
    assert len(world.breaker(0).outcomes) == is_blamed


def test_no_provider_is_asked_when_the_time_is_up(two: World) -> None:
    with pytest.raises(NoAnswer, match="time ran out"):
        two.ask(secs=0.5)
    assert not two.clients[two.entries[0].id].requests


def test_figures_are_kept(two: World) -> None:
    two.script(0, TextDelta("Hello"), DONE)
    two.script(0, ProviderBroken("answered 500"))
    two.script(1, TextDelta("Hello"), DONE)
    two.ask()
    two.ask()
    figures = two.orchestrator.statistics.of(two.entries[0].id)
    assert (figures.requests, figures.failures) == (2, 1)
    assert figures.percentile(0.5) is not None
    assert two.orchestrator.statistics.of(UUID(int=1)).percentile(0.5) is None
