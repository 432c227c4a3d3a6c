"""Applies a function to all texts of a request to a model, except the definitions of its tools."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netstacks.errors import InvalidInput
from netstacks.llm.conversation import Block, ChatRequest, Message, Text, ToolResult, ToolUse


def map_texts(request: ChatRequest, change: Callable[[str], str]) -> ChatRequest:
    messages = tuple(
        Message(message.role, tuple(_map_block(block, change) for block in message.blocks))
        for message in request.messages
    )
    return replace(request, system=change(request.system), messages=messages)


def _map_block(block: Block, change: Callable[[str], str]) -> Block:
    match block:
        case Text():
            return replace(block, text=change(block.text))
        case ToolResult():
            return replace(block, content=change(block.content))
        case ToolUse():
            # As one JSON text: the name of a member can show that its value is a secret.
            return replace(block, input=_map_input(dict(block.input), change))


def _map_input(tool_input: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    try:
        changed: dict[str, Any] = json.loads(change(json.dumps(tool_input, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the input of a tool is nested too deeply") from error
    return changed
