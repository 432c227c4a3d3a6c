"""Only the controlling terminal answers a device; what else a viewer types arrives as it was typed."""

import pytest

from netstacks.terminal.query_answers import without_answers

# What xterm.js 6.0 sends, by the query, as it was recorded in Chromium.
XTERM_JS = {
    "DA1": b"\x1b[?1;2c",
    "DA2": b"\x1b[>0;276;0c",
    "DSR 5": b"\x1b[0n",
    "DSR 6": b"\x1b[12;34R",
    "DSR 6, home": b"\x1b[1;1R",
    "DSR 6, row 1": b"\x1b[1;17R",
    "DSR ?6": b"\x1b[?1;5R",
    "DECRQM ANSI": b"\x1b[4;2$y",
    "DECRQM": b"\x1b[?25;1$y",
    "DECRQM unknown": b"\x1b[?9999;0$y",
    "DECRQSS m": b"\x1bP1$r0m\x1b\\",
    "DECRQSS r": b"\x1bP1$r1;24r\x1b\\",
    "DECRQSS cursor": b"\x1bP1$r2 q\x1b\\",
    "DECRQSS level": b'\x1bP1$r61;1"p\x1b\\',
    "DECRQSS unknown": b"\x1bP0$r\x1b\\",
    "OSC 4": b"\x1b]4;1;rgb:cccc/0000/0000\x1b\\",
    "OSC 10, 11, 12": (
        b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\\x1b]12;rgb:ffff/ffff/ffff\x1b\\"
    ),
    "XTWINOPS 14": b"\x1b[4;432;722t",
    "XTWINOPS 16": b"\x1b[6;18;9t",
    "XTWINOPS 18": b"\x1b[8;24;80t",
    "focus": b"\x1b[I",
    "blur": b"\x1b[O",
}
# What other terminals send, and xterm.js with options or in other versions.
OTHERS = {
    "DA1 VT420": b"\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c",
    "DA1 Linux": b"\x1b[?6c",
    "DA3": b"\x1bP!|7E565445\x1b\\",
    "XTVERSION": b"\x1bP>|xterm.js(6.0.0)\x1b\\",
    "XTGETTCAP": b"\x1bP1+r544e=787465726d\x1b\\",
    "DECRQCRA": b"\x1bP1!~A5F0\x1b\\",
    "DECREQTPARM": b"\x1b[2;1;1;112;112;1;0x",
    "DSR printer": b"\x1b[?13n",
    "colour scheme": b"\x1b[?997;1n",
    "window state": b"\x1b[1t",
    "window place": b"\x1b[3;0;0t",
    "window title": b"\x1b]lrouter\x1b\\",
    "OSC 11, BEL": b"\x1b]11;rgb:1111/2222/3333\x07",
    "OSC 52": b"\x1b]52;c;c2VjcmV0\x07",
    "kitty keyboard": b"\x1b[?1u",
    "kitty graphics": b"\x1b_Gi=31;OK\x1b\\",
    "XTQMODKEYS": b"\x1b[>4;2m",
}


@pytest.mark.parametrize("answer", [*XTERM_JS.values(), *OTHERS.values()], ids=[*XTERM_JS, *OTHERS])
def test_an_answer_is_not_typed(answer: bytes) -> None:
    assert without_answers(answer) == b""
    assert without_answers(b"show ver" + answer + b"sion\r") == b"show version\r"


MODIFIERS = (2, 3, 4, 5, 6, 7, 8, 9, 16)
FUNCTION_KEYS = [b"\x1bO" + key for key in (b"P", b"Q", b"R", b"S", b"A", b"H", b"I", b"M")]
MODIFIED = [b"\x1b[1;%d%c" % (modifier, key) for modifier in MODIFIERS for key in b"PQRSABCDHF"]
NUMBERED = [b"\x1b[15~", b"\x1b[24;8~", b"\x1b[3~", b"\x1b[5;5~", b"\x1b[200~", b"\x1b[201~"]
ALT = [b"\x1b" + bytes([key]) for key in range(0x20, 0x7F)] + [b"\x1b\x1b", b"\x1b"]
CURSOR = [b"\x1b[" + key for key in (b"A", b"B", b"C", b"D", b"H", b"F", b"Z")]
MOUSE = [b"\x1b[<0;41;12M", b"\x1b[<0;41;12m", b"\x1b[M I,", b"\x1b[M#\xff\xfe", b"\x1b[32;41;12M"]
KITTY_KEYS = [b"\x1b[97;5u", b"\x1b[27;5;9~"]
PASTES = [b"\x1b[200~a\x1b[0n\rb\x1b[1;1R\x1b[201~", "\u00e9\u4e2d".encode(), b"\x00\x03\x7f\t\r\n", b""]


@pytest.mark.parametrize(
    "typed", [*FUNCTION_KEYS, *MODIFIED, *NUMBERED, *ALT, *CURSOR, *MOUSE, *KITTY_KEYS, *PASTES], ids=repr
)
def test_keys_pastes_and_mouse_reports_arrive(typed: bytes) -> None:
    assert without_answers(typed) == typed
    assert without_answers(typed + b"\x1b[?1;2c" + b"ls\r") == typed + b"ls\r"


def test_an_answer_behind_an_unfinished_paste_is_not_typed() -> None:
    assert without_answers(b"\x1b[200~half\x1b[0n") == b"\x1b[200~half"


def test_a_mouse_report_that_contains_an_answer_stays() -> None:
    assert without_answers(b"\x1b[MabR\x1b[0n") == b"\x1b[MabR"


@pytest.mark.parametrize("head", [b"\x1b[200~", b"\x1bP>|", b"\x1b]52;c;", b"\x1b[1;", b"\x1b[?", b"\x1b]l"])
def test_a_message_of_unfinished_heads_is_gone_through_once(head: bytes) -> None:
    for typed in (head * (1024 * 1024 // len(head)), head + b"1" * 1024 * 1024):
        assert without_answers(typed) == typed
