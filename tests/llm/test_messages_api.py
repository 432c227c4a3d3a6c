"""The Messages dialect: what is sent, and what its events mean."""

from typing import Any

import pytest

from netstacks.llm import messages_api
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
from tests.llm.providers import KEY, provider
from tests.llm.reading import read
from tests.llm.scripted_provider import ToolCall, event, messages_events

ENTRY = provider()
STOP: list[dict[str, Any]] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def events(*parts: dict[str, Any]) -> list[bytes]:
    return [event(part, part["type"]) for part in parts]


def text(*deltas: str) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": each}} for each in deltas
    ]


def block(**members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": members}


def pieces(*parts: dict[str, Any], allows_empty: bool = False) -> list[Piece]:
    return read(messages_api.Reader(ENTRY, allows_empty=allows_empty), events(*parts))


def test_a_request_without_system_and_tools_does_not_name_them() -> None:
    request = ChatRequest((Message("user", (Text("hi"),)),), max_tokens=9)
    assert messages_api.body(ENTRY, request, "m") == {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "stream": True,
    }


def test_ids_of_other_providers_are_made_acceptable_in_call_and_result_alike() -> None:
    messages = (
        Message("user", (Text("hi"),)),
        Message("assistant", (ToolUse("functions.ping:0", "ping", {}),)),
        Message("user", (ToolResult("functions.ping:0", "alive"),)),
    )
    body = messages_api.body(ENTRY, ChatRequest(messages, tools=(Tool("ping", "", {}),)), "m")
    assert body["messages"][1]["content"][0]["id"] == "functions_ping_0"
    assert body["messages"][2]["content"][0]["tool_use_id"] == "functions_ping_0"


def test_the_key_is_a_header_of_its_own_and_may_be_absent() -> None:
    assert messages_api.headers(ENTRY) == {"anthropic-version": "2026-10-21", "x-api-key": KEY}
    assert "x-api-key" not in messages_api.headers(provider(key=None))


def test_an_answer_with_text_and_two_tools() -> None:
    tools = [ToolCall("t1", "ping", {"host": "r1"}), ToolCall("t2", "list", {})]
    assert read(messages_api.Reader(ENTRY), messages_events("hello", tools)) == [
        TextDelta("he"),
        TextDelta("llo"),
        ToolUseStart("t1", "ping"),
        ToolInputDelta('{"host"'),
        ToolInputDelta(': "r1"}'),
        ToolUseEnd(),
        ToolUseStart("t2", "list"),
        ToolInputDelta("{"),
        ToolInputDelta("}"),
        ToolUseEnd(),
        Finished("tool_use", Usage(11, 7)),
    ]


def test_a_tool_without_input_gets_an_empty_one_and_one_may_come_at_the_start() -> None:
    parts = [
        block(type="tool_use", id="t1", name="list", input={}),
        {"type": "content_block_stop", "index": 0},
        block(type="tool_use", id="t2", name="ping", input={"host": "r1"}),
        {"type": "content_block_stop", "index": 1},
    ]
    inputs = [each.json for each in pieces(*parts, *STOP) if isinstance(each, ToolInputDelta)]
    assert inputs == ["{}", '{"host": "r1"}']


def test_a_tool_call_whose_end_is_missing_is_not_lost() -> None:
    def tool(id: str) -> list[dict[str, Any]]:
        delta = {"type": "input_json_delta", "partial_json": '{"host": "r1"}'}
        return [block(type="tool_use", id=id, name="ping", input={}), {"type": "content_block_delta", "delta": delta}]

    assert pieces(*tool("t1"), *tool("t2"), *STOP) == [
        *(ToolUseStart("t1", "ping"), ToolInputDelta('{"host": "r1"}'), ToolUseEnd()),
        *(ToolUseStart("t2", "ping"), ToolInputDelta('{"host": "r1"}'), ToolUseEnd()),
        Finished("end_turn", Usage(0, 2)),
    ]


def test_tokens_that_a_cache_read_and_wrote_are_input_too() -> None:
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 1}
    start = {"type": "message_start", "message": {"usage": usage}}
    assert pieces(start, *text("a"), *STOP)[-1] == Finished("end_turn", Usage(321, 2))


@pytest.mark.parametrize(
    ("reason", "meant"),
    [("stop_sequence", "end_turn"), ("max_tokens", "max_tokens"), ("pause_turn", None), ("something new", None)],
)
def test_reasons_to_stop(reason: str, meant: str | None) -> None:
    assert pieces(*text("a"), {"type": "message_delta", "delta": {"stop_reason": reason}}, STOP[1])[-1] == Finished(
        meant,  # type: ignore[arg-type]
        Usage(),
    )


@pytest.mark.parametrize(
    ("reason", "meant", "why"),
    [("refusal", None, "filter"), ("model_context_window_exceeded", "max_tokens", "context window")],
)
def test_an_answer_that_something_ended_says_what(reason: str, meant: str | None, why: str) -> None:
    end = pieces(*text("a"), {"type": "message_delta", "delta": {"stop_reason": reason}}, STOP[1])[-1]
    assert isinstance(end, Finished)
    assert end.stop_reason == meant
    assert why in end.why_incomplete


def test_thinking_is_progress_and_no_text() -> None:
    reader = messages_api.Reader(ENTRY)
    assert (
        read_some(reader, {"type": "message_start", "message": {}}, {"type": "ping"}, block(type="text", text="")) == []
    )
    assert reader.progress == 0
    thinking = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
    assert read_some(reader, thinking) == []
    assert reader.progress == 1
    with pytest.raises(ProviderRefused, match="empty"):
        read_some(reader, *STOP)


def read_some(reader: messages_api.Reader, *parts: dict[str, Any]) -> list[Piece]:
    try:
        return read(reader, events(*parts))
    except StreamCut:
        return []


def test_new_kinds_of_events_and_blocks_are_passed_over() -> None:
    parts = [
        {"type": "news"},
        block(type="server_tool_use", id="s", name="web"),
        {"type": "content_block_stop", "index": 0},
    ]
    assert pieces(*parts, *text("a"), *STOP)[0] == TextDelta("a")


@pytest.mark.parametrize("end", [[], STOP[:1]])
def test_a_stream_without_its_own_end_is_cut(end: list[dict[str, Any]]) -> None:
    with pytest.raises(StreamCut):
        pieces(*text("a"), *end)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("overloaded_error", ProviderBroken),
        ("rate_limit_error", RateLimited),
        ("invalid_request_error", ProviderRefused),
    ],
)
def test_an_error_inside_the_stream(kind: str, failure: type[ProviderFailure]) -> None:
    with pytest.raises(failure, match="too bad"):
        pieces(*text("a"), {"type": "error", "error": {"type": kind, "message": "too bad"}})


@pytest.mark.parametrize("words", [[], [""], [" \n"]])
def test_an_answer_of_nothing_fails_unless_it_may(words: list[str]) -> None:
    with pytest.raises(ProviderRefused, match="empty"):
        pieces(*text(*words), *STOP)
    assert isinstance(pieces(*text(*words), *STOP, allows_empty=True)[-1], Finished)


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: 1\n\n",
        b"data: {}\n\n",
        b'data: {"type": "content_block_delta"}\n\n',
        b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 5}}\n\n',
        b'data: {"type": "content_block_start", "content_block": {"type": "tool_use", "id": null, "name": "a"}}\n\n',
        b'data: {"type": "message_start", "message": {"usage": [1]}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_a_part_that_the_dialect_does_not_have_is_a_failure(data: bytes) -> None:
    with pytest.raises(ProviderBroken, match="not of the Messages API"):
        read(messages_api.Reader(ENTRY), [data])


@pytest.mark.parametrize(("count", "tokens"), [(-(10**12), 0), (10**30, 10**7), ("many", 0), (1.5, 0), (12, 12)])
def test_counts_of_tokens_are_within_bounds(count: Any, tokens: int) -> None:
    counts = {"input_tokens": count, "cache_read_input_tokens": count, "output_tokens": count}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": counts}
    finished = Finished("end_turn", Usage(min(2 * tokens, 10**7), tokens))
    assert pieces(*text("a"), end, {"type": "message_stop"})[-1] == finished


@pytest.mark.parametrize(
    ("id", "name"), [("t1\n", "ping"), ("t1", "<b>"), ("t1", "p" * 4001), ("", "ping"), ("t1", "")]
)
def test_a_tool_call_whose_id_or_name_could_not_be_sent_back_is_a_failure(id: str, name: str) -> None:
    with pytest.raises(ProviderBroken, match="id or name"):
        pieces(block(type="tool_use", id=id, name=name))


def test_tool_calls_are_limited() -> None:
    calls = [block(type="tool_use", id=f"t{number}", name="ping") for number in range(101)]
    with pytest.raises(ProviderBroken, match="more than 100 tool calls"):
        pieces(*calls)
