"""Providers get a conversation that they accept, however a client has cut its history."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.errors import InvalidInput
from netstacks.llm.conversation import Block, ChatRequest, Message, Role, Text, Tool, ToolResult, ToolUse
from netstacks.llm.turns import turns

TOOL = Tool("ping", "Pings.", {"type": "object", "properties": {}})
CALL, RESULT = ToolUse("t1", "ping", {"host": "r1"}), ToolResult("t1", "alive")


def said(role: Role, *blocks: Block | str) -> Message:
    return Message(role, tuple(Text(each) if isinstance(each, str) else each for each in blocks))


def of(*messages: Message, tools: tuple[Tool, ...] = (TOOL,)) -> list[Message]:
    return turns(ChatRequest(messages, tools=tools))


def test_a_good_conversation_stays_as_it_is() -> None:
    good = [said("user", "a"), said("assistant", "b", CALL), said("user", RESULT, "c")]
    assert of(*good) == good


def test_turns_of_one_role_become_one_and_empty_texts_are_left_out() -> None:
    assert of(said("user", "a"), said("assistant", " \n"), said("user", "", "b")) == [said("user", "a", "b")]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    assert of(said("user", "a"), said("assistant", CALL), said("user", "b"))[2] == said(
        "user", ToolResult("t1", "(The result of this call is not known.)", is_error=True), "b"
    )


def test_a_result_without_its_call_and_a_second_one_become_text() -> None:
    again = ToolResult("t1", "dead")
    told = of(said("user", RESULT, "a"), said("assistant", CALL), said("user", "b", RESULT, again))
    assert told[0] == said("user", "(The result of a tool:)\nalive", "a")
    assert told[2] == said("user", RESULT, "b", "(The result of a tool:)\ndead")


def test_without_tools_calls_and_results_are_told_in_words() -> None:
    told = of(said("user", "a"), said("assistant", CALL), said("user", RESULT), tools=())
    assert told[1:] == [said("assistant", "(I called the tool ping.)"), said("user", "(The result of a tool:)\nalive")]


def test_the_user_begins_and_ends() -> None:
    assert [each.role for each in of(said("assistant", "a"))] == ["user", "assistant", "user"]


@pytest.mark.parametrize("messages", [(), (said("user", ""),), (said("user"), said("assistant", "\n"))])
def test_nothing_at_all_is_refused(messages: tuple[Message, ...]) -> None:
    with pytest.raises(InvalidInput, match="no text"):
        of(*messages)


_IDS = st.sampled_from(["t1", "t2", "t3"])
_BLOCKS = st.one_of(
    st.sampled_from(["", " ", "a"]).map(Text),
    _IDS.map(lambda id: ToolUse(id, "ping", {})),
    _IDS.map(lambda id: ToolResult(id, "alive")),
)


@st.composite
def _messages(draw: st.DrawFn) -> list[Message]:
    """Results only from the user and calls only from the assistant, each call once in its turn."""
    messages = []
    for role in draw(st.lists(st.sampled_from(["user", "assistant"]), min_size=1, max_size=8)):
        other = ToolUse if role == "user" else ToolResult
        blocks = draw(
            st.lists(_BLOCKS, max_size=5, unique_by=lambda block: (type(block), getattr(block, "id", id(block))))
        )
        messages.append(Message(role, tuple(block for block in blocks if not isinstance(block, other))))
    return messages


@given(_messages())
def test_any_history_becomes_turns_with_one_result_for_each_call(messages: list[Message]) -> None:
    try:
        told = of(*messages)
    except InvalidInput:
        return
    assert [each.role for each in told] == [("user", "assistant")[index % 2] for index in range(len(told))]
    assert len(told) % 2 == 1
    for each, before in zip(told, [None, *told], strict=False):
        assert each.blocks
        assert all(block.text.strip() for block in each.blocks if isinstance(block, Text))
        if each.role == "user":
            calls = [block.id for block in before.blocks if isinstance(block, ToolUse)] if before else []
            results = [block.tool_use_id for block in each.blocks if isinstance(block, ToolResult)]
            assert results == calls
            assert not any(isinstance(block, ToolResult) for block in each.blocks[len(calls) :])
