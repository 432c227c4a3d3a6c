"""What is asked of a model and what it answers, in the shapes that both dialects are translated from and to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["user", "assistant"]
# None: the provider gave a reason that has no equal here.
StopReason = Literal["end_turn", "tool_use", "max_tokens"] | None


@dataclass(frozen=True)
class Text:
    """Words of the user or of the model. What is printed by a device is marked as data before it is sent."""

    text: str
    is_device_output: bool = False


@dataclass(frozen=True)
class ToolUse:
    """The model asks for a tool to be run."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True)
class ToolResult:
    """What a tool returned to the model."""

    tool_use_id: str
    content: str
    is_error: bool = False


Block = Text | ToolUse | ToolResult


@dataclass(frozen=True)
class Message:
    """One turn. Tool results stand in turns of the user."""

    role: Role
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tool:
    """A tool that the model may ask for; `input_schema` is JSON Schema."""

    name: str
    description: str
    input_schema: Mapping[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    """A question to a model. `max_tokens` bounds the answer."""

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
        """Both together, which is what a budget counts."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class ToolUseStart:
    """A tool call begins; the deltas up to its end are pieces of the JSON of its input."""

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
    """The provider's own end of the answer. A stream without it is cut.

    `why_incomplete` is for the user, where the stop reason does not tell why something of the answer is missing.
    """

    stop_reason: StopReason
    usage: Usage = field(default_factory=Usage)
    why_incomplete: str = ""


@dataclass(frozen=True)
class Waiting:
    """Nothing has come for a second: the caller may look whether its own reader is still there."""


# What a stream consists of: any of the first five, then one Finished.
Piece = TextDelta | ToolUseStart | ToolInputDelta | ToolUseEnd | Waiting | Finished
