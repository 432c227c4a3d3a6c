"""The character encodings of terminals, each under one normalised name."""

import codecs

from netstacks.errors import InvalidInput

_ASCII = [chr(code) for code in range(128)]
# Terminal escape sequences are ASCII, so ASCII must be unchanged. The last probe excludes codecs of Python source
# escapes, such as unicode_escape.
_PROBES = (*_ASCII, "\\u0041")
_ADVICE = "it must be the name of a character set that contains ASCII, such as utf-8, iso-8859-1, cp1252 or gbk"


def normal_encoding(text: str) -> str:
    """Python's name for a character encoding in which every ASCII character is one byte, anywhere in a text.

    Raises InvalidInput for an unknown name, for a codec that is not a character encoding, and for encodings that are
    stateful (UTF-7, ISO-2022), begin with a byte order mark, or encode ASCII otherwise (UTF-16, EBCDIC).
    """
    try:
        name = codecs.lookup(text.strip()).name
        is_fit = all(probe.encode(name) == probe.encode("ascii") for probe in _PROBES) and all(
            probe.encode("ascii").decode(name) == probe for probe in _PROBES
        )
    except (LookupError, ValueError):
        is_fit = False
    if not is_fit:
        raise InvalidInput(f"encoding: {text[:50]!r} cannot be used for a terminal: {_ADVICE}")
    return name
