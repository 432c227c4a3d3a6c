"""The Chat Completions dialect (OpenAI and compatible servers): request and answer, without I/O."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from netstacks.llm import error_answers, members
from netstacks.llm.conversation import (
    ChatRequest,
    Finished,
    Message,
    Piece,
    StopReason,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolResult,
    ToolUse,
    ToolUseEnd,
    ToolUseStart,
    Usage,
)
from netstacks.llm.failures import ProviderBroken, StreamCut
from netstacks.llm.provider import Provider
from netstacks.llm.sse import Event
from netstacks.llm.turns import turns

PATH = "/chat/completions"

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
}
# Two names for reasoning before an answer. OpenAI's own dialect has neither.
_THINKING = ("reasoning_content", "reasoning")


def headers(provider: Provider) -> dict[str, str]:
    """The headers of the dialect, besides those of each request."""
    return {"authorization": f"Bearer {provider.key}"} if provider.key else {}


def body(provider: Provider, request: ChatRequest, model: str) -> dict[str, Any]:
    """The request as JSON. Raises InvalidInput when the messages have no text."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    for turn in turns(request):
        messages += _assistant(turn) if turn.role == "assistant" else _user(turn)
    # OpenAI's newer models reject the older name, and other servers do not support the newer one.
    limit = "max_completion_tokens" if provider.type == "openai" else "max_tokens"
    content: dict[str, Any] = {
        "model": model,
        limit: request.max_tokens,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        content["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.input_schema),
                },
            }
            for tool in request.tools
        ]
    return content


def _assistant(turn: Message) -> list[dict[str, Any]]:
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": members.written(dict(block.input))},
        }
        for block in turn.blocks
        if isinstance(block, ToolUse)
    ]
    message: dict[str, Any] = {"role": "assistant", "content": _text(turn) or None}
    return [{**message, "tool_calls": calls}] if calls else [message]


def _user(turn: Message) -> list[dict[str, Any]]:
    # The dialect has no flag for a failed tool, so the text says it.
    messages = [
        {
            "role": "tool",
            "tool_call_id": block.tool_use_id,
            "content": f"The tool failed: {block.content}" if block.is_error else block.content,
        }
        for block in turn.blocks
        if isinstance(block, ToolResult)
    ]
    text = _text(turn)
    return [*messages, {"role": "user", "content": text}] if text else messages


def _text(turn: Message) -> str:
    return "\n\n".join(block.text for block in turn.blocks if isinstance(block, Text))


@dataclass
class _ToolCall:
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def pieces(self) -> list[Piece]:
        if not self.name:
            raise ProviderBroken("sent a tool call without a name")
        start = ToolUseStart(self.id or f"call_{uuid4().hex}", self.name)
        return [start, ToolInputDelta("".join(self.arguments) or "{}"), ToolUseEnd()]


class Reader:
    """Parses the events of one answer into pieces. An answer without text and tool call fails unless `allows_empty`.

    Tool calls are returned at the end of the answer: their parts may be interleaved, and a partial call cannot be run.
    """

    def __init__(self, provider: Provider, *, allows_empty: bool = False) -> None:
        self._provider = provider
        self._is_empty = not allows_empty
        self._calls: list[_ToolCall] = []
        self._indexed: dict[Any, _ToolCall] = {}
        self._call_characters = 0
        self._finish_reason: str | None = None
        self._usage = Usage()
        self.progress = 0
        """How many times the model has sent content, including reasoning."""

    @property
    def is_complete(self) -> bool:
        """Whether the finish reason has been read; the token count may still follow."""
        return self._finish_reason is not None

    def feed(self, event: Event) -> list[Piece]:
        """The pieces of an event. Raises ProviderFailure for an error event, and for data of no known form."""
        if event.data.strip() == "[DONE]":
            return self.end()
        try:
            return self._pieces(event, json.loads(event.data))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ProviderBroken("sent an event that is not of the Chat Completions API") from error

    def end(self) -> list[Piece]:
        """The last pieces, at the end of the stream. Raises StreamCut when the answer is not complete."""
        if self._finish_reason is None:
            raise StreamCut("broke off in the middle of its answer")
        if self._is_empty:
            raise error_answers.of_empty(self._finish_reason)
        reason = _STOP_REASONS.get(self._finish_reason)
        # Some servers send `stop` for every reason.
        if self._calls and reason == "end_turn":
            reason = "tool_use"
        end = Finished(reason, self._usage, error_answers.why_incomplete(self._finish_reason))
        return [*(piece for call in self._calls for piece in call.pieces()), end]

    def _pieces(self, event: Event, data: dict[str, Any]) -> list[Piece]:
        if event.event == "error" or data.get("error"):
            raise error_answers.of_event(self._provider, data.get("error") or data)
        if data.get("usage"):
            counts = (data["usage"].get(name) for name in ("prompt_tokens", "completion_tokens"))
            self._usage = Usage(*map(members.tokens, counts))
        pieces: list[Piece] = []
        for choice in data.get("choices") or []:
            pieces += self._delta(choice.get("delta") or {})
            if reason := choice.get("finish_reason"):
                if reason == "error":
                    raise ProviderBroken("broke off with an error")
                self._finish_reason = members.text(reason)
        return pieces

    def _delta(self, delta: dict[str, Any]) -> list[Piece]:
        for call in delta.get("tool_calls") or []:
            self.progress += 1
            self._is_empty = False
            self._add(call)
        self.progress += any(bool(delta.get(name)) for name in _THINKING)
        texts = [members.text(text) for text in (delta.get("content"), delta.get("refusal")) if text]
        for text in texts:
            self.progress += 1
            self._is_empty = self._is_empty and not text.strip()
        return [TextDelta(text) for text in texts]

    def _add(self, part: dict[str, Any]) -> None:
        """Adds a part to its call, found by its index. Some servers omit the index, or use one index for all calls."""
        function = part.get("function") or {}
        id, name = (members.word(value) if value else "" for value in (part.get("id"), function.get("name")))
        call = self._indexed.get(part.get("index"))
        if call is None or (id and name and id != call.id):
            call = self._indexed[part.get("index")] = _ToolCall(id)
            self._calls.append(call)
        call.name = call.name or name
        if arguments := members.text(function.get("arguments") or ""):
            call.arguments.append(arguments)
        # All parts are kept until the answer ends, so their total size is limited.
        self._call_characters += len(arguments)
        members.check_size(len(self._calls), self._call_characters)
