"""The Messages dialect (Anthropic): request and answer, without I/O."""

import json
import re
from typing import Any

from netstacks.llm import error_answers, members
from netstacks.llm.conversation import (
    Block,
    ChatRequest,
    Finished,
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

PATH = "/v1/messages"

_VERSION = "2026-10-21"
_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "end_turn",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
}
# The first count excludes tokens read from a cache or written to it.
_INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
# Tool call ids of other providers may have other characters, and a conversation may switch providers.
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def headers(provider: Provider) -> dict[str, str]:
    """The headers of the dialect, besides those of each request."""
    # Anthropic also accepts the key as a bearer token, but not all gateways with its dialect do.
    key = {"x-api-key": provider.key} if provider.key else {}
    return {"anthropic-version": _VERSION, **key}


def body(provider: Provider, request: ChatRequest, model: str) -> dict[str, Any]:
    """The request as JSON. Raises InvalidInput when the messages have no text."""
    content: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_tokens,
        "messages": [
            {"role": turn.role, "content": [_block(block) for block in turn.blocks]} for turn in turns(request)
        ],
        "stream": True,
    }
    if request.system:
        content["system"] = request.system
    if request.tools:
        content["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)}
            for tool in request.tools
        ]
    return content


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case ToolUse(id, name, input):
            return {"type": "tool_use", "id": _NOT_IN_IDS.sub("_", id), "name": name, "input": dict(input)}
        case ToolResult(tool_use_id, content, is_error):
            return {
                "type": "tool_result",
                "tool_use_id": _NOT_IN_IDS.sub("_", tool_use_id),
                "content": content,
                "is_error": is_error,
            }


class Reader:
    """Parses the events of one answer into pieces. An answer without text and tool call fails unless `allows_empty`."""

    def __init__(self, provider: Provider, *, allows_empty: bool = False) -> None:
        self._provider = provider
        self._is_empty = not allows_empty
        self._stop_reason: str | None = None
        self._usage: dict[str, int] = {}
        # Whether the open tool call has any input yet; None when no tool call is open.
        self._has_input: bool | None = None
        self._tool_calls = 0
        self.progress = 0
        """How many times the model has sent content, including reasoning."""
        self.is_complete = False
        """Whether `message_stop` has been read."""

    def feed(self, event: Event) -> list[Piece]:
        """The pieces of an event. Raises ProviderFailure for an error event, and for data of no known form."""
        try:
            return self._pieces(json.loads(event.data))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ProviderBroken("sent an event that is not of the Messages API") from error

    def end(self) -> list[Piece]:
        """The last pieces, at the end of the stream. Raises StreamCut when the answer is not complete."""
        if not self.is_complete:
            raise StreamCut("broke off in the middle of its answer")
        return []

    def _pieces(self, data: dict[str, Any]) -> list[Piece]:
        match data["type"]:
            case "message_start":
                self._count(data["message"].get("usage"))
            case "content_block_start":
                # Some gateways omit the end of a block.
                return [*self._end_block(), *self._begin(data["content_block"])]
            case "content_block_delta":
                return self._delta(data["delta"])
            case "content_block_stop":
                return self._end_block()
            case "message_delta":
                self._stop_reason = data["delta"].get("stop_reason")
                self._count(data.get("usage"))
            case "message_stop":
                return self._finish()
            case "error":
                raise error_answers.of_event(self._provider, data["error"])
        return []

    def _begin(self, block: dict[str, Any]) -> list[Piece]:
        if block["type"] == "text":
            return self._text(block.get("text", ""))
        self.progress += 1
        if block["type"] == "tool_use":
            self._is_empty = False
            self._has_input = bool(block.get("input"))
            self._tool_calls += 1
            members.check_size(self._tool_calls, 0)
            start = ToolUseStart(members.word(block["id"]), members.word(block["name"]))
            # Some servers send the whole input here.
            return [start, ToolInputDelta(json.dumps(block["input"]))] if self._has_input else [start]
        return []

    def _delta(self, delta: dict[str, Any]) -> list[Piece]:
        if delta["type"] == "text_delta":
            return self._text(delta["text"])
        self.progress += 1
        if delta["type"] == "input_json_delta" and self._has_input is not None and delta["partial_json"]:
            self._has_input = True
            return [ToolInputDelta(members.text(delta["partial_json"]))]
        return []

    def _text(self, text: str) -> list[Piece]:
        if not members.text(text):
            return []
        self.progress += 1
        self._is_empty = self._is_empty and not text.strip()
        return [TextDelta(text)]

    def _end_block(self) -> list[Piece]:
        had_input, self._has_input = self._has_input, None
        if had_input is None:
            return []
        return [ToolUseEnd()] if had_input else [ToolInputDelta("{}"), ToolUseEnd()]

    def _finish(self) -> list[Piece]:
        if self._is_empty:
            raise error_answers.of_empty(self._stop_reason)
        self.is_complete = True
        read = members.tokens(sum(self._usage.get(name, 0) for name in _INPUT_TOKENS))
        usage = Usage(read, self._usage.get("output_tokens", 0))
        reason = self._stop_reason
        end = Finished(_STOP_REASONS.get(reason or ""), usage, error_answers.why_incomplete(reason))
        return [*self._end_block(), end]

    def _count(self, usage: dict[str, Any] | None) -> None:
        """Updates the counts, which are cumulative; a count that an event omits keeps its value."""
        counts = {name: members.tokens(count) for name, count in (usage or {}).items() if isinstance(count, int)}
        self._usage.update(counts)
