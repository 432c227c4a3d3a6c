"""Validation of JSON members from and for providers, some of which send invalid values.

The dialects use it: they know where the members are.
"""

import json
import re
from typing import Any

from netstacks.errors import InvalidInput
from netstacks.llm.failures import ProviderBroken

# Far above the tokens of any answer, and within a database integer.
MAX_TOKENS = 10**7
MAX_TOOL_CALLS = 100
# Text and tool calls of one answer together, far above what models generate.
MAX_ANSWER_CHARACTERS = 1024 * 1024
# Some gateways use a kilobyte of base64 as an id.
_WORD = re.compile(r"[A-Za-z0-9_.:=+/|-]{1,4000}")


def text(value: Any) -> str:
    """A text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    return value


def word(value: Any) -> str:
    """The id or name of a tool call, restricted to the characters that our API accepts from the client later.

    Raises ProviderBroken for another text, and TypeError for a value that is not text.
    """
    found = text(value)
    if not _WORD.fullmatch(found):
        raise ProviderBroken("sent a tool call whose id or name has characters that are not allowed, or too many")
    return found


def tokens(value: Any) -> int:
    """A token count, clamped to 0 to MAX_TOKENS; 0 for a value that is not an integer."""
    return max(0, min(value, MAX_TOKENS)) if isinstance(value, int) else 0


def written(value: Any) -> str:
    """A value as JSON text. Raises InvalidInput for NaN and infinity, which JSON does not have."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidInput("numbers must be finite") from error


def check_size(tool_calls: int, characters: int) -> None:
    """Raises ProviderBroken for an answer above MAX_TOOL_CALLS or MAX_ANSWER_CHARACTERS."""
    if tool_calls > MAX_TOOL_CALLS:
        raise ProviderBroken(f"sent more than {MAX_TOOL_CALLS} tool calls")
    if characters > MAX_ANSWER_CHARACTERS:
        raise ProviderBroken(f"sent an answer of more than {MAX_ANSWER_CHARACTERS} characters")
