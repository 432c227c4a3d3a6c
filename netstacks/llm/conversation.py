"""Requests to models and their answers, in a form independent of the dialect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "assistant"]
# None: the provider's reason has no equivalent here.
StopReason = Literal["end_turn", "tool_use", "max_tokens"] | None


@dataclass(frozen=True)
class Text:
    """Text of the user or of the model. Device output is marked as data before it is sent."""

    text: str
    is_device_output: bool = False


@dataclass(frozen=True)
class ToolUse:
    """A tool call by the model."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True)
class ToolResult:
    """The result of a tool call."""

    tool_use_id: str
    content: str
    is_error: bool = False


Block = Text | ToolUse | ToolResult


@dataclass(frozen=True)
class Message:
    """One turn. Tool results are part of the user's turns."""

    role: Role
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tool:
    """A tool that the model may call; `input_schema` is a JSON Schema."""

    name: str
    description: str
    input_schema: Mapping[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    """A request to a model. `max_tokens` limits the answer."""

    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    max_tokens: int = 4096


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together, as budgets count them."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class ToolUseStart:
    """The start of a tool call; the deltas up to its end are parts of its input as JSON text."""

    id: str
    name: str


@dataclass(frozen=True)
class ToolInputDelta:
    """More of the JSON text of a tool call's input."""

    json: str


@dataclass(frozen=True)
class ToolUseEnd:
    """The input of the tool call is complete."""


@dataclass(frozen=True)
class Finished:
    """The provider's own end of the answer. A stream without it is incomplete.

    `why_incomplete` is a reason for the user, where the stop reason does not explain what is missing.
    """

    stop_reason: StopReason
    usage: Usage = field(default_factory=Usage)
    why_incomplete: str = ""


@dataclass(frozen=True)
class Waiting:
    """One second without a piece: the caller may check whether its own client is still connected."""


# An item of a stream: any of the first five, then one Finished.
Piece = TextDelta | ToolUseStart | ToolInputDelta | ToolUseEnd | Waiting | Finished
