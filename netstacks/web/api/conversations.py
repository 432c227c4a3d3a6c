"""Requests to language models: validated and translated. Their format is that of the Messages API."""

import json
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Discriminator, Field, StringConstraints, Tag

from netstacks.errors import InvalidInput
from netstacks.llm.conversation import Block, ChatRequest, Message, Text, Tool, ToolResult, ToolUse
from netstacks.llm.outcomes import Hint

# The upper limit of an answer; the provider cuts longer ones.
MAX_TOKENS = 8192
_DEFAULT_TOKENS = 4096
# Above what the client sends: 20 messages, tool results of 30,000 characters each.
_MAX_MESSAGES, _MAX_BLOCKS, _MAX_TOOLS, _MAX_CHARACTERS = 200, 200, 200, 1_000_000

# Tools that the client offers but cannot run in enterprise mode: each call of one fails and costs a turn.
UNUSABLE_TOOLS = frozenset(
    {
        "collect_device_backup",
        "get_device_config",
        "investigate_config_change",
        "run_command",
        "search_config_backups",
    }
)

_Words = Annotated[str, StringConstraints(max_length=_MAX_CHARACTERS)]
# Ids as providers make them; some contain base64.
_Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:=+/|-]{1,4000}$")]


class _TextBlock(BaseModel):
    type: Literal["text"]
    text: _Words

    def block(self) -> Block:
        return Text(self.text)


class _ToolUseBlock(BaseModel):
    type: Literal["tool_use"]
    id: _Id
    name: _Id
    input: dict[str, Any] = Field(default_factory=dict)

    def block(self) -> Block:
        return ToolUse(self.id, self.name, self.input)


class _ToolResultBlock(BaseModel):
    type: Literal["tool_result"]
    tool_use_id: _Id
    content: _Words | list[_TextBlock] = ""
    is_error: bool = False

    def block(self) -> Block:
        content = self.content if isinstance(self.content, str) else "\n".join(each.text for each in self.content)
        return ToolResult(self.tool_use_id, content, self.is_error)


_AnyBlock = Annotated[_TextBlock | _ToolUseBlock | _ToolResultBlock, Field(discriminator="type")]


def _kind(content: object) -> str:
    return "text" if isinstance(content, str) else "blocks"


_Content = Annotated[
    Annotated[_Words, Tag("text")] | Annotated[list[_AnyBlock], Field(max_length=_MAX_BLOCKS), Tag("blocks")],
    Discriminator(_kind),
]


class _Message(BaseModel):
    role: Literal["user", "assistant", "system"]
    content: _Content

    def blocks(self) -> tuple[Block, ...]:
        if isinstance(self.content, str):
            return (Text(self.content),)
        return tuple(each.block() for each in self.content)


class _Tool(BaseModel):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: _Words = ""
    input_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})


class _Hinted(BaseModel):
    # No request is refused for a hint, so neither is checked.
    provider: str | None = None
    model: str | None = None

    def hint(self) -> Hint:
        """The provider and model that the client prefers."""
        return Hint(self.provider, self.model)


class AgentChat(_Hinted):
    """`/api/ai/agent-chat` and its stream (docs/protocol.md, 10.2 and 10.3)."""

    messages: Annotated[list[_Message], Field(min_length=1, max_length=_MAX_MESSAGES)]
    tools: Annotated[list[_Tool], Field(max_length=_MAX_TOOLS)] = []
    system_prompt: _Words | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None

    def request(self) -> ChatRequest:
        """The question, without UNUSABLE_TOOLS."""
        tools = [Tool(each.name, each.description, each.input_schema) for each in self.tools]
        return ChatRequest(
            _conversation(self.messages),
            system="\n\n".join([self.system_prompt or "", *_system_texts(self.messages)]).strip(),
            tools=tuple(tool for tool in tools if tool.name not in UNUSABLE_TOOLS),
            max_tokens=min(self.max_tokens or _DEFAULT_TOKENS, MAX_TOKENS),
        )


class _OneShot(_Hinted):
    """A question without a conversation. The client always sends its own default provider, so that is ignored."""

    def hint(self) -> Hint:
        """The model only: the administrator's order of providers applies."""
        return Hint(None, self.model)


class Chat(_OneShot):
    """`/api/ai/chat` (docs/protocol.md, 10.4). `context` is the client's current view."""

    messages: Annotated[list[_Message], Field(min_length=1, max_length=_MAX_MESSAGES)]
    context: dict[str, Any] | None = None


class Highlights(_OneShot):
    """`/api/ai/analyze-highlights` (docs/protocol.md, 10.4)."""

    output: Annotated[str, StringConstraints(max_length=100_000)]
    mode: Literal["errors", "security", "anomalies"] = "errors"
    cli_flavor: Annotated[str | None, StringConstraints(max_length=100)] = None


class Script(_OneShot):
    """`/api/ai/generate-script` (docs/protocol.md, 10.4)."""

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]


class _Turn(BaseModel):
    role: Literal["user", "assistant"]
    content: _Words


class Ask(BaseModel):
    """A question of our own page. `screen` is the visible text of the terminal, `selection` the selected part."""

    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
    screen: Annotated[str | None, StringConstraints(max_length=200_000)] = None
    selection: Annotated[str | None, StringConstraints(max_length=200_000)] = None
    session_id: UUID | None = None
    history: Annotated[list[_Turn], Field(max_length=_MAX_MESSAGES)] = []

    def request(self, system: str) -> ChatRequest:
        """The conversation so far, then the question with the device's text before it."""
        turns = [Message(each.role, (Text(each.content),)) for each in self.history if each.content]
        visible = self.selection or self.screen
        label = "Selected in the terminal:" if self.selection else "On the screen of the terminal:"
        about = [Text(label), Text(visible, is_device_output=True)] if visible else []
        question = Message("user", (*about, Text(self.question)))
        return ChatRequest((*turns, question), system=system, max_tokens=_DEFAULT_TOKENS)


def chat_request(chat: Chat, system: str) -> ChatRequest:
    """A question without tools; the context is put before the first message."""
    messages = _conversation(chat.messages)
    if chat.context:
        first, *others = messages
        context = Text(json.dumps(chat.context, ensure_ascii=False, indent=1), is_device_output=True)
        messages = (Message(first.role, (context, *first.blocks)), *others)
    system = "\n\n".join([system, *_system_texts(chat.messages)])
    return ChatRequest(messages, system=system, max_tokens=_DEFAULT_TOKENS)


def single_question(system: str, text: Text, *, max_tokens: int = _DEFAULT_TOKENS) -> ChatRequest:
    """A conversation of one question."""
    return ChatRequest((Message("user", (text,)),), system=system, max_tokens=max_tokens)


def _conversation(messages: list[_Message]) -> tuple[Message, ...]:
    found = tuple(Message(each.role, each.blocks()) for each in messages if each.role != "system")
    if not found:
        raise InvalidInput("messages: must hold at least one message of the user")
    return found


def _system_texts(messages: list[_Message]) -> list[str]:
    blocks = [block for each in messages if each.role == "system" for block in each.blocks()]
    return [block.text for block in blocks if isinstance(block, Text)]
