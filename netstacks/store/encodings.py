"""The character sets that a device's terminals may have, each in one spelling."""

import codecs

from netstacks.errors import InvalidInput

_ASCII = [chr(code) for code in range(128)]
# Escape sequences for terminals are ASCII, so it must pass as it is. The last is an escape of Python's source code.
_PROBES = (*_ASCII, "\\u0041")
_ADVICE = "it must be the name of a character set that contains ASCII, such as utf-8, iso-8859-1, cp1252 or gbk"


def normal_encoding(text: str) -> str:
    """Python's name for a character set in which every ASCII character is one byte, at any place in a text.

    Raises InvalidInput for what is not known or no character set, and for character sets that change their meaning on
    the way (UTF-7, ISO-2022), begin with a mark, or write ASCII otherwise (UTF-16, EBCDIC).
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
