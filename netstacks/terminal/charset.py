"""The character set of a device's terminal: clients and recordings use UTF-8, the device uses its own."""

import codecs

_UTF8 = "utf-8"


class Charset:
    """Converts one terminal's bytes in both directions, in pieces of any size. UTF-8 passes unchanged.

    Bytes that cannot be converted become U+FFFD in output, and a question mark in input.
    """

    def __init__(self, name: str = _UTF8) -> None:
        codec = codecs.lookup(name)
        self._is_utf8 = codec.name == _UTF8
        self._from_device = codec.incrementaldecoder("replace")
        self._from_user = codecs.getincrementaldecoder(_UTF8)("replace")
        self._to_device = codec.incrementalencoder("replace")

    def to_user(self, data: bytes) -> bytes:
        """The device's bytes as UTF-8; an incomplete character is kept for the next call."""
        return data if self._is_utf8 else self._from_device.decode(data).encode()

    def to_device(self, data: bytes) -> bytes:
        """UTF-8 input in the device's character set."""
        return data if self._is_utf8 else self._to_device.encode(self._from_user.decode(data))
