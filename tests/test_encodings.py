"""Encodings: what a terminal can be read in has one spelling, the rest is refused."""

import codecs

import pytest

from netstacks.encodings import normal_encoding
from netstacks.errors import InvalidInput


@pytest.mark.parametrize(
    ("spellings", "name"),
    [
        (("utf-8", "UTF8", " u8 ", "utf_8"), "utf-8"),
        (("ISO-8859-1", "latin1", "l1"), "iso8859-1"),
        (("Windows-1252", "cp1252"), "cp1252"),
        (("Shift_JIS", "sjis"), "shift_jis"),
        (("KOI8-R",), "koi8-r"),
        (("us-ascii",), "ascii"),
    ],
)
def test_one_spelling_for_one_encoding(spellings: tuple[str, ...], name: str) -> None:
    assert {normal_encoding(spelling) for spelling in spellings} == {name}
    assert normal_encoding(name) == name


@pytest.mark.parametrize(
    "stateful", ["utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "iso2022_jp", "iso2022_kr", "hz"]
)
def test_a_stateful_encoding_is_refused(stateful: str) -> None:
    codecs.lookup(stateful)
    with pytest.raises(InvalidInput, match="cannot be used for a terminal: it must be"):
        normal_encoding(stateful)


@pytest.mark.parametrize("odd", ["idna", "punycode", "cp037", "unicode_escape", "raw_unicode_escape", "undefined"])
def test_an_encoding_that_writes_ascii_otherwise_is_refused(odd: str) -> None:
    codecs.lookup(odd)
    with pytest.raises(InvalidInput):
        normal_encoding(odd)


@pytest.mark.parametrize(
    "no_text", ["rot13", "hex", "base64", "zlib", "", "klingon", "utf-8\0", "кои", "../codecs", "x" * 99]
)
def test_an_encoding_of_no_text_is_refused(no_text: str) -> None:
    with pytest.raises(InvalidInput, match="such as utf-8"):
        normal_encoding(no_text)
