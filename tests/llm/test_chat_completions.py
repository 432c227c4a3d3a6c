"""The Chat Completions dialect: what is sent, and what its chunks mean."""

from typing import Any

import pytest

from netstacks.llm import chat_completions
from netstacks.llm.conversation import (
    ChatRequest,
    Finished,
    Message,
    Piece,
    Text,
    TextDelta,
    Tool,
    ToolInputDelta,
    ToolResult,
    ToolUse,
    ToolUseEnd,
    ToolUseStart,
    Usage,
)
from netstacks.llm.failures import ProviderBroken, ProviderFailure, ProviderRefused, RateLimited, StreamCut
from netstacks.llm.sse import MAX_EVENT_BYTES
from netstacks.llm.stream_parser import StreamParser
from tests.llm.providers import KEY, provider
from tests.llm.reading import read
from tests.llm.scripted_provider import ToolCall, chat_events, event

ENTRY = provider(type="custom")
DONE = b"data: [DONE]\n\n"


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def call(index: int | None, arguments: str, id: str | None = None, name: str | None = None) -> bytes:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    part: dict[str, Any] = {"function": function} | ({"id": id} if id else {})
    return chunk(tool_calls=[part if index is None else {"index": index, **part}])


def pieces(*stream: bytes, allows_empty: bool = False) -> list[Piece]:
    return read(chat_completions.Reader(ENTRY, allows_empty=allows_empty), stream)


def tool(id: str, name: str, json: str) -> list[Piece]:
    return [ToolUseStart(id, name), ToolInputDelta(json), ToolUseEnd()]


@pytest.mark.parametrize(("type", "limit"), [("openai", "max_completion_tokens"), ("ollama", "max_tokens")])
def test_a_request_without_system_and_tools_does_not_name_them(type: str, limit: str) -> None:
    request = ChatRequest((Message("user", (Text("hi"),)),), max_tokens=9)
    assert chat_completions.body(provider(type=type), request, "m") == {
        "model": "m",
        limit: 9,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_results_are_messages_of_their_own_right_after_their_calls() -> None:
    calls = (ToolUse("t1", "ping", {"host": "r1"}), ToolUse("t2", "ping", {}))
    results = (ToolResult("t2", "no host", is_error=True), ToolResult("t1", "alive"), Text("And now?"))
    messages = (Message("user", (Text("hi"),)), Message("assistant", calls), Message("user", results))
    request = ChatRequest(messages, system="Be brief.", tools=(Tool("ping", "", {}),))
    assert [
        (each["role"], each.get("tool_call_id"), each["content"])
        for each in chat_completions.body(ENTRY, request, "m")["messages"]
    ] == [
        ("system", None, "Be brief."),
        ("user", None, "hi"),
        ("assistant", None, None),
        ("tool", "t1", "alive"),
        ("tool", "t2", "The tool failed: no host"),
        ("user", None, "And now?"),
    ]


def test_the_key_is_a_bearer_token_and_may_be_absent() -> None:
    assert chat_completions.headers(ENTRY) == {"authorization": f"Bearer {KEY}"}
    assert chat_completions.headers(provider(key=None)) == {}


def test_interleaved_tool_calls_are_told_one_after_the_other() -> None:
    tools = [ToolCall("t1", "ping", {"host": "r1"}), ToolCall("t2", "list", {})]
    assert read(chat_completions.Reader(ENTRY), chat_events("hello", tools)) == [
        TextDelta("he"),
        TextDelta("llo"),
        *tool("t1", "ping", '{"host": "r1"}'),
        *tool("t2", "list", "{}"),
        Finished("tool_use", Usage(11, 7)),
    ]


@pytest.mark.parametrize("index", [0, None])
def test_calls_that_all_have_one_index_or_none_are_told_apart_by_their_ids(index: int | None) -> None:
    parts = [call(index, '{"a"', "t1", "ping"), call(index, ":1}"), call(index, "", "t2", "list")]
    assert pieces(*parts, chunk("tool_calls"), DONE)[:-1] == [*tool("t1", "ping", '{"a":1}'), *tool("t2", "list", "{}")]


def test_a_call_that_repeats_its_id_is_one_call_and_one_without_an_id_gets_one() -> None:
    repeated = [call(0, '{"a"', "t1", "ping"), call(0, ":1}", "t1", "ping")]
    assert pieces(*repeated, chunk("tool_calls"), DONE)[:-1] == tool("t1", "ping", '{"a":1}')
    start = pieces(call(0, "{}", None, "ping"), chunk("tool_calls"), DONE)[0]
    assert isinstance(start, ToolUseStart)
    assert start.id.startswith("call_")


@pytest.mark.parametrize(
    ("reason", "meant"), [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", None), ("eos", None)]
)
def test_reasons_to_stop(reason: str, meant: str | None) -> None:
    end = pieces(chunk(content="a"), chunk(reason), DONE)[-1]
    assert isinstance(end, Finished)
    assert end.stop_reason == meant
    assert end.why_incomplete == ("the provider's filter ended it" if reason == "content_filter" else "")


def test_a_server_that_stops_for_a_tool_and_says_stop_means_the_tool() -> None:
    assert pieces(call(0, "{}", "t1", "ping"), chunk("stop"), DONE)[-1] == Finished("tool_use", Usage())


@pytest.mark.parametrize("end", [(DONE,), (), (event({"choices": [], "usage": {"prompt_tokens": 1}}),)])
def test_a_finish_reason_is_the_end_and_done_and_the_usage_may_be_missing(end: tuple[bytes, ...]) -> None:
    assert isinstance(pieces(chunk(content="a"), chunk("stop"), *end)[-1], Finished)


@pytest.mark.parametrize(
    "rest",
    [event({"error": {"message": "too late"}}), b"data: {oops\n\n", b"data: " + b"x" * MAX_EVENT_BYTES],
    ids=["error", "garbage", "endless"],
)
def test_what_follows_the_end_takes_nothing_from_the_answer(rest: bytes) -> None:
    parser = StreamParser(chat_completions.Reader(ENTRY))
    read_pieces = [*parser.feed(chunk(content="a") + chunk("stop")), *parser.feed(rest)]
    assert read_pieces == [TextDelta("a"), Finished("end_turn")]
    assert parser.is_over
    assert parser.failure is None


@pytest.mark.parametrize("end", [(), (DONE,)])
def test_a_stream_without_a_finish_reason_is_cut(end: tuple[bytes, ...]) -> None:
    with pytest.raises(StreamCut):
        pieces(chunk(content="a"), *end)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thinking_is_progress_and_no_text(name: str) -> None:
    reader = chat_completions.Reader(ENTRY)
    with pytest.raises(StreamCut):
        read(reader, [chunk(role="assistant", content="")])
    assert reader.progress == 0
    with pytest.raises(StreamCut):
        read(reader, [chunk(**{name: "hm"})])
    assert reader.progress == 1
    with pytest.raises(ProviderRefused, match="empty"):
        read(reader, [chunk("stop")])


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ({"error": {"code": 502, "message": "too bad"}}, ProviderBroken),
        ({"error": {"code": "rate_limit_exceeded", "message": "too bad"}}, RateLimited),
        ({"error": {"code": 400, "message": "too bad"}}, ProviderRefused),
        ({"error": "too bad"}, ProviderBroken),
    ],
)
def test_an_error_inside_the_stream(error: dict[str, Any], failure: type[ProviderFailure]) -> None:
    with pytest.raises(failure, match="too bad"):
        pieces(chunk(content="a"), event(error))


def test_an_error_by_the_name_of_the_event_or_as_the_finish_reason() -> None:
    with pytest.raises(ProviderBroken, match="too bad"):
        pieces(event({"message": "too bad"}, "error"))
    with pytest.raises(ProviderBroken, match="broke off"):
        pieces(chunk("error"), DONE)


@pytest.mark.parametrize("words", ["", " \n"])
def test_an_answer_of_nothing_fails_unless_it_may(words: str) -> None:
    with pytest.raises(ProviderRefused, match="empty"):
        pieces(chunk(content=words), chunk("stop"), DONE)
    assert isinstance(pieces(chunk(content=words), chunk("stop"), DONE, allows_empty=True)[-1], Finished)


def test_an_answer_that_a_filter_withheld_is_not_the_providers_failure() -> None:
    with pytest.raises(ProviderRefused, match="filter"):
        pieces(chunk("content_filter"), DONE)


def test_a_refusal_in_words_is_the_answer() -> None:
    assert pieces(chunk(refusal="No."), chunk("stop"), DONE)[0] == TextDelta("No.")


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b'data: {"choices": 1}\n\n',
        b'data: {"choices": [1]}\n\n',
        b'data: {"choices": [], "usage": [1]}\n\n',
        chunk(content=["a"]),
        chunk(tool_calls=[{"index": [], "function": {}}]),
        chunk(tool_calls=[{"index": 0, "id": "t", "function": {"name": "a", "arguments": {"b": 1}}}]),
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_a_part_that_the_dialect_does_not_have_is_a_failure(data: bytes) -> None:
    with pytest.raises(ProviderBroken, match="not of the Chat Completions API"):
        pieces(data, chunk("stop"), DONE)


def test_a_tool_call_without_a_name_is_a_failure() -> None:
    with pytest.raises(ProviderBroken, match="without a name"):
        pieces(call(0, "{}", "t1"), chunk("tool_calls"), DONE)


@pytest.mark.parametrize(
    ("count", "tokens"),
    [(-(10**12), 0), (10**30, 10**7), ("many", 0), (1.5, 0), (float("nan"), 0), ([], 0), (None, 0), (12, 12)],
)
def test_counts_of_tokens_are_within_bounds(count: Any, tokens: int) -> None:
    usage = event({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}})
    assert pieces(chunk("stop", content="a"), usage, DONE)[-1] == Finished("end_turn", Usage(tokens, tokens))


@pytest.mark.parametrize(("id", "name"), [("t1\n", "ping"), ("t1", "<b>"), ("t1", "p" * 4001), ("t 1", None)])
def test_a_tool_call_whose_id_or_name_could_not_be_sent_back_is_a_failure(id: str, name: str | None) -> None:
    with pytest.raises(ProviderBroken, match="id or name"):
        pieces(call(0, "{}", id, name))


def test_tool_calls_are_not_kept_without_limit() -> None:
    reader = chat_completions.Reader(ENTRY)
    with pytest.raises(ProviderBroken, match="more than 100 tool calls"):
        read(reader, (call(index, "", f"t{index}", "ping") for index in range(101)))
    reader = chat_completions.Reader(ENTRY)
    with pytest.raises(ProviderBroken, match="more than 1048576 characters"):
        read(reader, (call(0, "x" * 10_000, "t1", "ping") for _ in range(105)))
