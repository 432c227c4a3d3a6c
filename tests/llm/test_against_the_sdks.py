"""The vendors' SDKs are the oracle: both send the same request, and both read the same streams alike."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from netstacks.llm import chat_completions, messages_api
from netstacks.llm.answer import Answer, AnswerBuilder
from netstacks.llm.conversation import ChatRequest, Message, Text, Tool, ToolResult, ToolUse
from netstacks.llm.failures import ProviderBroken
from tests.llm.providers import KEY, provider
from tests.llm.reading import read
from tests.llm.scripted_provider import MODEL, ToolCall, chat_events, event, messages_events

SCHEMA = {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]}
REQUEST = ChatRequest(
    messages=(
        Message("user", (Text("Is r1 alive? ünd r2?"),)),
        Message(
            "assistant", (Text("I look."), ToolUse("t1", "ping", {"host": "r1"}), ToolUse("t2", "ping", {"host": "r2"}))
        ),
        Message("user", (ToolResult("t1", "alive"), ToolResult("t2", "dead"), Text("Well?"))),
    ),
    system="Be brief.",
    tools=(Tool("ping", "Pings a host.", SCHEMA),),
    max_tokens=99,
)
ANSWERS: list[tuple[str, list[ToolCall], str | None]] = [
    ("Both are fine. ✓", [], None),
    ("", [ToolCall("t3", "ping", {"host": "r3"})], None),
    ("Two more.", [ToolCall("t3", "ping", {"host": "r3"}), ToolCall("t4", "list", {})], None),
]


class Recorder:
    """Stands in for the network: keeps the request, and answers with a stream."""

    def __init__(self, stream: list[bytes]) -> None:
        self._stream = stream
        self.request: httpx2.Request | None = None

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.request = request
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"".join(self._stream))

    @property
    def client(self) -> httpx2.Client:
        return httpx2.Client(transport=httpx2.MockTransport(self))

    def sent(self) -> tuple[str, Any]:
        assert self.request is not None
        return str(self.request.url), json.loads(self.request.content)


def ours(reader: Any, stream: list[bytes]) -> Answer:
    builder = AnswerBuilder()
    for piece in read(reader, stream):
        builder.add(piece)
    return builder.answer()


def ask_anthropic(stream: list[bytes]) -> tuple[Recorder, anthropic.types.Message]:
    recorder = Recorder(stream)
    client = anthropic.Anthropic(
        api_key=KEY, base_url="http://provider.test", http_client=recorder.client, max_retries=0
    )
    with client.messages.stream(
        model=MODEL,
        max_tokens=99,
        system="Be brief.",
        tools=[{"name": "ping", "description": "Pings a host.", "input_schema": SCHEMA}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Is r1 alive? ünd r2?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "ping", "input": {"host": "r1"}},
                    {"type": "tool_use", "id": "t2", "name": "ping", "input": {"host": "r2"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "alive", "is_error": False},
                    {"type": "tool_result", "tool_use_id": "t2", "content": "dead", "is_error": False},
                    {"type": "text", "text": "Well?"},
                ],
            },
        ],
    ) as answering:
        return recorder, answering.get_final_message()


def ask_openai(stream: list[bytes]) -> tuple[Recorder, list[Any]]:
    recorder = Recorder(stream)
    client = openai.OpenAI(api_key=KEY, base_url="http://provider.test/v1", http_client=recorder.client, max_retries=0)
    chunks = client.chat.completions.create(
        model=MODEL,
        max_completion_tokens=99,
        stream=True,
        stream_options={"include_usage": True},
        tools=[
            {"type": "function", "function": {"name": "ping", "description": "Pings a host.", "parameters": SCHEMA}}
        ],
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Is r1 alive? ünd r2?"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "ping", "arguments": '{"host": "r1"}'}},
                    {"id": "t2", "type": "function", "function": {"name": "ping", "arguments": '{"host": "r2"}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "alive"},
            {"role": "tool", "tool_call_id": "t2", "content": "dead"},
            {"role": "user", "content": "Well?"},
        ],
    )
    return recorder, list(chunks)


def test_the_messages_dialect_sends_what_anthropics_sdk_sends() -> None:
    recorder, _ = ask_anthropic(messages_events("a"))
    entry = provider()
    url = f"http://provider.test{messages_api.PATH}"
    assert recorder.sent() == (url, messages_api.body(entry, REQUEST, MODEL))
    assert recorder.request is not None
    version = "anthropic-version"
    assert recorder.request.headers[version] == messages_api.headers(entry)[version]


def test_the_chat_completions_dialect_sends_what_openais_sdk_sends() -> None:
    recorder, _ = ask_openai(chat_events("a"))
    entry = provider(type="openai")
    url = f"http://provider.test/v1{chat_completions.PATH}"
    assert recorder.sent() == (url, chat_completions.body(entry, REQUEST, MODEL))
    assert recorder.request is not None
    assert recorder.request.headers["authorization"] == chat_completions.headers(entry)["authorization"]


@pytest.mark.parametrize(("text", "tools", "stop"), [*ANSWERS, ("Cut", [], "max_tokens"), ("Hm", [], "stop_sequence")])
def test_the_messages_dialect_reads_as_anthropics_sdk_does(text: str, tools: list[ToolCall], stop: str | None) -> None:
    stream = messages_events(text, tools, stop=stop)
    _, theirs = ask_anthropic(stream)
    answer = ours(messages_api.Reader(provider()), stream)
    assert answer.text == "".join(each.text for each in theirs.content if each.type == "text")
    assert [(each.id, each.name, each.input) for each in answer.tool_uses] == [
        (each.id, each.name, each.input) for each in theirs.content if each.type == "tool_use"
    ]
    assert answer.stop_reason == (theirs.stop_reason if theirs.stop_reason != "stop_sequence" else "end_turn")
    assert answer.usage.input_tokens == theirs.usage.input_tokens
    assert answer.usage.output_tokens == theirs.usage.output_tokens


@pytest.mark.parametrize(("text", "tools", "stop"), [*ANSWERS, ("Cut", [], "length")])
def test_the_chat_completions_dialect_reads_as_openais_sdk_does(
    text: str, tools: list[ToolCall], stop: str | None
) -> None:
    stream = chat_events(text, tools, stop=stop)
    _, chunks = ask_openai(stream)
    # The SDK has a helper that puts chunks together, which is what a user of it would use.
    state: Any = openai.lib.streaming.chat.ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    theirs = state.current_completion_snapshot
    answer = ours(chat_completions.Reader(provider(type="openai")), stream)
    message, usage = theirs.choices[0].message, chunks[-1].usage
    assert answer.text == (message.content or "")
    assert [(each.id, each.name, each.input) for each in answer.tool_uses] == [
        (each.id, each.function.name, json.loads(each.function.arguments)) for each in message.tool_calls or []
    ]
    meant = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
    assert answer.stop_reason == meant[theirs.choices[0].finish_reason]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)


@pytest.mark.parametrize(
    ("ask", "reader", "error"),
    [
        (ask_anthropic, messages_api.Reader, event({"type": "error", "error": {"type": "overloaded_error"}}, "error")),
        (ask_openai, chat_completions.Reader, event({"error": {"message": "overloaded"}})),
    ],
)
def test_an_error_inside_a_stream_is_a_failure_to_both(
    ask: Callable[[list[bytes]], Any], reader: Any, error: bytes
) -> None:
    with pytest.raises((anthropic.APIError, openai.APIError)):
        ask([error])
    with pytest.raises(ProviderBroken):
        read(reader(provider()), [error])
