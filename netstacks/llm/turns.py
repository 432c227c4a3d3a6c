"""Normalises a conversation to a form that every provider accepts, although clients truncate their history.

Providers reject empty texts, a tool call without its result and a result without its call. Some reject two turns of
the same role in a row, and a conversation that does not begin and end with the user.
"""

from collections.abc import Iterable, Iterator

from netstacks.errors import InvalidInput
from netstacks.llm.conversation import Block, ChatRequest, Message, Text, ToolResult, ToolUse

_BEGAN_EARLIER = Text("(The beginning of this conversation is not shown.)")
_GO_ON = Text("Go on.")
_NO_RESULT = "(The result of this call is not known.)"


def turns(request: ChatRequest) -> list[Message]:
    """The normalised turns: none empty, alternating roles, the user first and last, tool results first in a turn.

    Raises InvalidInput when the messages have no text.
    """
    messages = request.messages if request.tools else map(_without_tools, request.messages)
    merged = _merged(messages)
    if not merged:
        raise InvalidInput("the messages have no text")
    if merged[0].role == "assistant":
        merged.insert(0, Message("user", (_BEGAN_EARLIER,)))
    if merged[-1].role == "assistant":
        merged.append(Message("user", (_GO_ON,)))
    before = [None, *merged]
    return [
        Message(each.role, _matched(each, previous)) if each.role == "user" else each
        for each, previous in zip(merged, before, strict=False)
    ]


def _merged(messages: Iterable[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        blocks = tuple(block for block in message.blocks if not isinstance(block, Text) or block.text.strip())
        if merged and blocks and merged[-1].role == message.role:
            merged[-1] = Message(message.role, merged[-1].blocks + blocks)
        elif blocks:
            merged.append(Message(message.role, blocks))
    return merged


def _matched(message: Message, previous: Message | None) -> tuple[Block, ...]:
    """The blocks of a user's turn, with exactly one result for each call of the previous turn."""
    calls = [block.id for block in previous.blocks if isinstance(block, ToolUse)] if previous else []
    wanted = set(calls)
    results: dict[str, ToolResult] = {}
    texts: list[Block] = []
    for block in message.blocks:
        if not isinstance(block, ToolResult):
            texts.append(block)
        elif block.tool_use_id in wanted and block.tool_use_id not in results:
            results[block.tool_use_id] = block
        else:
            texts.append(_as_text(block))
    return (*(results.get(each, ToolResult(each, _NO_RESULT, is_error=True)) for each in calls), *texts)


def _without_tools(message: Message) -> Message:
    """Calls and results as text, for a request without tools: providers reject them without tool definitions."""
    return Message(message.role, tuple(_described(message.blocks)))


def _described(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        match block:
            case ToolUse():
                yield Text(f"(I called the tool {block.name}.)")
            case ToolResult():
                yield _as_text(block)
            case Text():
                yield block


def _as_text(result: ToolResult) -> Text:
    return Text(f"(The result of a tool:)\n{result.content}")
