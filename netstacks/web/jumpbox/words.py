"""The words of the jump box's commands, and what commands and completion have in common."""

import re

from netstacks.errors import InvalidInput

# So many devices are candidates when what was typed names no single one.
CANDIDATES = 20
# A command does not hold its user up for longer when the database is slow.
STORE_SECS = 5.0

# What to type, and what it does.
USAGE = {
    "help": ("help", "shows this list; also: ?"),
    "devices": ("devices [TEXT]", "lists all devices, or those with TEXT in name or address; also: ls, search"),
    "connect": (
        "connect NAME [as CREDENTIAL]",
        "opens a terminal; NAME is a name, its beginning, or an address; also: ssh",
    ),
    "credentials": ("credentials", "lists what you can log in with"),
    "sessions": ("sessions", "lists your open terminals"),
    "whoami": ("whoami", "shows who you are here"),
    "clear": ("clear", "clears the screen; also: Ctrl-L"),
    "exit": ("exit", "leaves the jump box; also: quit, Ctrl-D"),
}
_ALIASES = {"?": "help", "ls": "devices", "search": "devices", "ssh": "connect", "quit": "exit", "logout": "exit"}
WORDS = (*USAGE, *_ALIASES)
_AS = re.compile(r"\s+as(?:\s+|\Z)", re.IGNORECASE)


def command_of(word: str) -> str:
    """The command that a word means, in any case; the word itself when it means none."""
    return _ALIASES.get(word.lower(), word.lower())


def split_credential(text: str) -> tuple[str, str | None]:
    """The device and the credential of `DEVICE as CREDENTIAL`; a device's name may have spaces."""
    separator = last_as(text)
    if separator is None:
        return text, None
    name = text[separator.end() :].strip()
    if not name:
        raise InvalidInput("the name of a credential is missing behind as: type credentials for a list")
    return text[: separator.start()].strip(), name


def last_as(text: str) -> re.Match[str] | None:
    """The `as` between device and credential, with the spaces around it."""
    return next(reversed(list(_AS.finditer(text))), None)


def begins(text: str, beginning: str) -> bool:
    """Whether `text` begins like that, in any case."""
    return text.lower().startswith(beginning.lower())
