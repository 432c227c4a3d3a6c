"""The character set of a device's terminal: UTF-8 on our side, for clients and recordings, its own on the other."""

import codecs

_UTF8 = "utf-8"


class Charset:
    """Translates one terminal's bytes both ways, whatever pieces they come in. UTF-8 is left as it is.

    What cannot be translated is shown as U+FFFD, and typed as a question mark.
    """

    def __init__(self, name: str = _UTF8) -> None:
        codec = codecs.lookup(name)
        self._is_ours = codec.name == _UTF8
        self._from_device = codec.incrementaldecoder("replace")
        self._from_user = codecs.getincrementaldecoder(_UTF8)("replace")
        self._to_device = codec.incrementalencoder("replace")

    def to_user(self, data: bytes) -> bytes:
        """The device's bytes as UTF-8; the first part of a character waits for the rest."""
        return data if self._is_ours else self._from_device.decode(data).encode()

    def to_device(self, data: bytes) -> bytes:
        """What was typed, in UTF-8, as the device takes it."""
        return data if self._is_ours else self._to_device.encode(self._from_user.decode(data))
