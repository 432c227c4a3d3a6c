"""The keys that a terminal sends, and their meaning in a line editor."""

import re

# In turn (ECMA-48): a control string, which is the terminal's answer to a query, a control sequence, an SS3 key, an
# escaped key, a control character (C0 or C1), text.
KEYS = re.compile(
    r"\x1b[P\]X^_][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1bO[@-~]"
    r"|\x1b[^\x1b]?"
    r"|[\x00-\x1f\x7f-\x9f]"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)
# The first part of a key whose rest is in the next frame. A lone Escape is a complete key.
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)\Z")

# The editing functions of xterm.js's keys, and of Emacs's control characters.
EDITS = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1b[1~": "home",
    "\x1b[7~": "home",
    "\x1b[4~": "end",
    "\x1b[8~": "end",
    "\x1b[3~": "delete",
    "\x1b[1;5C": "word right",
    "\x1b[1;5D": "word left",
    "\x1bf": "word right",
    "\x1bb": "word left",
    "\x1b\x7f": "erase word",
    "\x01": "home",
    "\x02": "left",
    "\x04": "delete",
    "\x05": "end",
    "\x06": "right",
    "\x08": "backspace",
    "\x0b": "erase after",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "erase before",
    "\x17": "erase word",
    "\x7f": "backspace",
}
