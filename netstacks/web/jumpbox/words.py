"""The command words of the jump box, and helpers that commands and completion share."""

import re

from netstacks.errors import InvalidInput

# The number of devices that are listed when the typed text matches several.
CANDIDATES = 20
# The permission that the jump box and each of its commands require.
PERMISSION = "sessions.connect"
# The database timeout of a command.
STORE_SECS = 5.0

# Usage and meaning of each command.
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
    """The command of a word or alias, ignoring case; the word itself when it is none."""
    return _ALIASES.get(word.lower(), word.lower())


def split_credential(text: str) -> tuple[str, str | None]:
    """The device and the credential of `DEVICE as CREDENTIAL`. The names may contain spaces."""
    separator = last_as(text)
    if separator is None:
        return text, None
    name = text[separator.end() :].strip()
    if not name:
        raise InvalidInput("The name of a credential is missing after `as`. Type credentials for a list.")
    return text[: separator.start()].strip(), name


def last_as(text: str) -> re.Match[str] | None:
    """The `as` between device and credential, with the spaces around it."""
    return next(reversed(list(_AS.finditer(text))), None)


def begins(text: str, beginning: str) -> bool:
    """Whether `text` begins with `beginning`, ignoring case."""
    return text.lower().startswith(beginning.lower())
