"""A whole answer out of its pieces, whatever a provider sends for the input of a tool."""

import pytest

from netstacks.llm.answer import AnswerBuilder, parsed_input
from netstacks.llm.conversation import Finished, ToolInputDelta, ToolUse, ToolUseEnd, ToolUseStart
from netstacks.llm.failures import ProviderBroken


def nested(levels: int) -> str:
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize("text", ["", "{}"])
def test_a_tool_may_have_no_input(text: str) -> None:
    assert parsed_input(text) == {}


def test_an_input_is_a_json_object() -> None:
    builder = AnswerBuilder()
    parts = ['{"host": "r1", "count": 3, "all": [true, nu', "ll, 1.5e3]}"]
    for piece in [ToolUseStart("t1", "ping"), *map(ToolInputDelta, parts), ToolUseEnd(), Finished("tool_use")]:
        builder.add(piece)
    expected = ToolUse("t1", "ping", {"host": "r1", "count": 3, "all": [True, None, 1500.0]})
    assert builder.answer().tool_uses == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        '{"a"',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": [1e999]}',
        '{"a": ' + "1" * 5000 + "}",
        nested(101),
    ],
)
def test_an_input_that_is_no_json_object_is_a_failure(text: str) -> None:
    with pytest.raises(ProviderBroken, match="not a JSON object"):
        parsed_input(text)


def test_an_input_of_any_depth_is_read_or_refused() -> None:
    assert parsed_input(nested(100))
    with pytest.raises(ProviderBroken, match="not a JSON object"):
        parsed_input(nested(90_000))
