"""Character sets, in both directions, with the bytes split anywhere."""

import pytest

from netstacks.terminal.charset import Charset


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("iso-8859-1", "é\r\n"),
        ("gbk", "接口 up"),
        ("big5", "介面"),
        ("shift_jis", "ポート"),
        ("koi8-r", "порт"),
        ("utf-8", "é接"),
    ],
)
def test_text_is_translated_both_ways_in_any_pieces(name: str, text: str) -> None:
    charset = Charset(name)
    from_device = [charset.to_user(bytes([byte])) for byte in text.encode(name)]
    assert b"".join(from_device).decode() == text
    to_device = [charset.to_device(bytes([byte])) for byte in text.encode()]
    assert b"".join(to_device) == text.encode(name)


def test_an_untranslatable_character_is_marked_and_nothing_else_is_lost() -> None:
    charset = Charset("gbk")
    assert charset.to_user(b"a\xff\nb").decode() == "a\ufffd\nb"
    assert Charset("iso-8859-1").to_device("a接b".encode()) == b"a?b"


def test_keys_and_escape_sequences_pass_as_they_are() -> None:
    keys = b"\x03\x1b[A\x7f\x00\r"
    for name in ("iso-8859-1", "gbk", "euc_kr"):
        assert Charset(name).to_device(keys) == keys
        assert Charset(name).to_user(keys) == keys


def test_bytes_of_a_device_that_speaks_utf_8_are_left_alone() -> None:
    assert Charset().to_user(b"\xff\xc3") == b"\xff\xc3"
