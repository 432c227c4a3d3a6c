"""JSON from providers and for them, checked: some providers are faulty, and what clients send is no better.

What is read is for the dialects, which know where it stands.
"""

import json
import re
from typing import Any

from netstacks.errors import InvalidInput
from netstacks.llm.failures import ProviderBroken

# Far above what a model answers to one question, and small enough for a database's integer.
MAX_TOKENS = 10**7
MAX_TOOL_CALLS = 100
# Text and tool calls of one answer together. What a model writes for one question is far below it.
MAX_ANSWER_CHARACTERS = 1024 * 1024
# Some gateways put base64 of a kilobyte into ids.
_WORD = re.compile(r"[A-Za-z0-9_.:=+/|-]{1,4000}")


def text(value: Any) -> str:
    """A text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError
    return value


def word(value: Any) -> str:
    """The id or the name of a tool call, of the characters that the client may send back to us.

    Raises ProviderBroken for another text, and TypeError for what is none.
    """
    it = text(value)
    if not _WORD.fullmatch(it):
        raise ProviderBroken("sent a tool call whose id or name has characters that are not allowed, or too many")
    return it


def tokens(value: Any) -> int:
    """A count of tokens within 0 and MAX_TOKENS; 0 for what is no integer."""
    return max(0, min(value, MAX_TOKENS)) if isinstance(value, int) else 0


def written(value: Any) -> str:
    """A value from a request to us as JSON. Raises InvalidInput for a number that JSON does not have."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InvalidInput("numbers must be finite") from error


def check_size(tool_calls: int, characters: int) -> None:
    """Raises ProviderBroken for an answer with more of either than one may have."""
    if tool_calls > MAX_TOOL_CALLS:
        raise ProviderBroken(f"sent more than {MAX_TOOL_CALLS} tool calls")
    if characters > MAX_ANSWER_CHARACTERS:
        raise ProviderBroken(f"sent an answer of more than {MAX_ANSWER_CHARACTERS} characters")
