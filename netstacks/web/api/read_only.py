"""The filter for commands that programs run on devices: read-only commands, one per line."""

import unicodedata
from collections.abc import Iterable

from netstacks.errors import InvalidInput

FIRST_WORDS = ("show", "display", "get", "list", "ping", "traceroute", "trace")
# Characters that end a command, begin another one, or redirect its output, on devices and in Linux shells. `!` inserts
# a command of the history into the line.
_MEANING_MORE = (";", "&", "`", "$(", ">", "<", "!")
# Control and format characters, line and paragraph separators, surrogates: a terminal acts on some of them.
_NO_TEXT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_MAX_SHOWN = 80


def check(commands: Iterable[str]) -> None:
    """Raises InvalidInput with the first command that is not allowed."""
    for command in commands:
        reason = _reason(command)
        if reason:
            raise InvalidInput(f"Refused {_shown(command)}: {reason}. No command was run.")


def _reason(command: str) -> str | None:
    if any(unicodedata.category(character) in _NO_TEXT for character in command):
        return "line breaks and control characters are not allowed, one command is one line"
    words = command.split()
    if not words or words[0].lower() not in FIRST_WORDS:
        return f"only commands that begin with {', '.join(FIRST_WORDS[:-1])} or {FIRST_WORDS[-1]} may be run"
    if "|" in command:
        return "pipes are not allowed; request the whole output"
    found = next((text for text in _MEANING_MORE if text in command), None)
    return f"{found} is not allowed in a command" if found else None


def _shown(command: str) -> str:
    """The command, quoted, without characters that a terminal acts on."""
    text = command if len(command) <= _MAX_SHOWN else f"{command[:_MAX_SHOWN]}…"
    return ascii(text) if any(unicodedata.category(each) in _NO_TEXT for each in text) else f"'{text}'"
