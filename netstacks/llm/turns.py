"""A conversation in the form that every provider accepts, whatever a client has cut out of its history.

Providers refuse empty texts, a tool call without its result and a result without its call. Some of them refuse two
turns of one role in a row, and a conversation that does not begin and end with the user.
"""

from collections.abc import Iterable, Iterator

from netstacks.errors import InvalidInput
from netstacks.llm.conversation import Block, ChatRequest, Message, Text, ToolResult, ToolUse

_BEGAN_EARLIER = Text("(The beginning of this conversation is not shown.)")
_GO_ON = Text("Go on.")
_NO_RESULT = "(The result of this call is not known.)"


def turns(request: ChatRequest) -> list[Message]:
    """The turns: never empty, user and assistant by turns, the user first and last. In each turn results come first.

    Raises InvalidInput when nothing is asked.
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
    """A turn of the user with exactly one result for each call of the turn before."""
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
    """Where no tool is offered, calls and results are told in words: providers refuse them without definitions."""
    return Message(message.role, tuple(_told(message.blocks)))


def _told(blocks: Iterable[Block]) -> Iterator[Block]:
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
