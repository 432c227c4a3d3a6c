"""Which commands a program may have typed into a device: those that only show something, one on its line."""

import unicodedata
from collections.abc import Iterable

from netstacks.errors import InvalidInput

FIRST_WORDS = ("show", "display", "get", "list", "ping", "traceroute", "trace")
# What ends a command, begins another one, or sends its output elsewhere: on devices, and in the shells of Linux. `!`
# puts a command of the history into the line, with whatever is in that one.
_MEANING_MORE = (";", "&", "`", "$(", ">", "<", "!")
# Control and format characters, line and paragraph separators, halves of pairs: a terminal acts on some of them.
_NO_TEXT = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_MOST_SHOWN = 80


def check(commands: Iterable[str]) -> None:
    """Raises InvalidInput, naming the first command that may not be typed."""
    for command in commands:
        reason = _reason(command)
        if reason:
            raise InvalidInput(f"refused {_shown(command)}: {reason}. Nothing was run.")


def _reason(command: str) -> str | None:
    if any(unicodedata.category(character) in _NO_TEXT for character in command):
        return "line breaks and control characters are not allowed, one command is one line"
    words = command.split()
    if not words or words[0].lower() not in FIRST_WORDS:
        return f"only commands that begin with {', '.join(FIRST_WORDS[:-1])} or {FIRST_WORDS[-1]} may be run"
    if "|" in command:
        return "pipes are not allowed; ask for the whole output"
    found = next((text for text in _MEANING_MORE if text in command), None)
    return f"{found} is not allowed in a command" if found else None


def _shown(command: str) -> str:
    """The command as a quoted text that no terminal obeys."""
    text = command if len(command) <= _MOST_SHOWN else f"{command[:_MOST_SHOWN]}…"
    return ascii(text) if any(unicodedata.category(each) in _NO_TEXT for each in text) else f"'{text}'"
