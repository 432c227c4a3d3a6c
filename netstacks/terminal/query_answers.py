"""The automatic replies of a terminal: its answers to a device's queries, and reports of its focus.

Each terminal on a session sees the query and answers it, so a device would get one answer per viewer. Only the
controlling terminal's answer reaches it.
"""

import re

# F3 with modifiers has the form of a cursor position in row 1: Shift+F3 is CSI 1 ; 2 R. The number is one more than the
# sum of Shift (1), Alt (2), Control (4) and Meta (8).
_MODIFIED_F3 = rb"1;(?:[2-9]|1[0-6])R"
_NUMBERS = rb"[0-9;:]*+"
_STRING_END = rb"(?:\x07|\x1b\\)"

_ANSWERS = (
    # DA1, DA2, DA3: device attributes.
    rb"\x1b\[[?>=]" + _NUMBERS + rb"c",
    rb"\x1bP!\|[0-9A-Fa-f]*\x1b\\",
    # DSR: status, and the cursor's position.
    rb"\x1b\[(?:[03]|\?" + _NUMBERS + rb")n",
    rb"\x1b\[(?!" + _MODIFIED_F3 + rb")\??[0-9]+;" + _NUMBERS + rb"R",
    # DECRQM, DECREQTPARM: modes and terminal parameters.
    rb"\x1b\[\??" + _NUMBERS + rb"\$y",
    rb"\x1b\[[23](?:;[0-9]+){6}x",
    # XTWINOPS: the window's size, place, state and titles.
    rb"\x1b\[[0-9]" + _NUMBERS + rb"t",
    rb"\x1b\][lL][^\x07\x1b]*" + _STRING_END,
    # XTVERSION, DECRQSS, XTGETTCAP, DECRQCRA.
    rb"\x1bP(?:>\||[01]\$r|[01]\+r|[0-9]+!~)[^\x07\x1b]*\x1b\\",
    # OSC: colours, and the clipboard.
    rb"\x1b\](?:4;[0-9]+|5;[0-9]+|1[0-9]);rgba?:[0-9A-Fa-f/]+" + _STRING_END,
    rb"\x1b\]52;[^;\x07\x1b]*;[0-9A-Za-z+/=]*" + _STRING_END,
    # The kitty keyboard protocol's flags and its graphics, XTQMODKEYS.
    rb"\x1b\[\?[0-9]+u",
    rb"\x1b_G[^\x07\x1b]*\x1b\\",
    rb"\x1b\[>4;[0-9]+m",
    # Focus reports: a viewer's focus must not reach the device.
    rb"\x1b\[[IO]",
)
# Kept unchanged: bracketed pastes, and the three bytes after the head of a mouse report.
_KEPT = rb"\x1b\[200~(?:[^\x1b]|\x1b(?!\[20[01]~))*+\x1b\[201~|\x1b\[M[^\x1b]{3}"
_PATTERN = re.compile(rb"(" + _KEPT + rb")|" + rb"|".join(_ANSWERS))


def without_answers(typed: bytes) -> bytes:
    """One message of a terminal's input without answers and focus reports: keys, pastes and mouse reports.

    Three cases are ambiguous:

    - The position of a cursor in row 1 and columns 2 to 16 has the form of F3 with modifiers. It counts as the key.
    - An answer that is cut in two by the end of a message passes. Terminals send an answer as one message; to wait for
      a second half would hold back the keys Escape and Alt+[.
    - Input in the form of an answer, in a paste without brackets for example, counts as an answer.
    """
    if b"\x1b" not in typed:
        return typed
    return _PATTERN.sub(lambda found: found[1] or b"", typed)
