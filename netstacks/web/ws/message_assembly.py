"""Assembles messages from frames. A long paste is passed on in pieces as they arrive."""

from websockets.frames import Frame, Opcode

from netstacks.terminal.frames import FrameType

MAX_MESSAGE_BYTES = 1024 * 1024

_DATA = bytes([FrameType.DATA])


class MessageTooBig(Exception):
    """A message other than Data exceeds MAX_MESSAGE_BYTES."""


class Assembler:
    """Takes data frames in order, and returns messages.

    A fragmented Data message, typed or pasted by a user, is returned in pieces: each is a Data message of its own and
    ends with a complete UTF-8 character. Other messages are limited to MAX_MESSAGE_BYTES.
    """

    def __init__(self) -> None:
        self._opcode = Opcode.BINARY
        self._gathered = bytearray()

    def take(self, frame: Frame) -> bytes | str | None:
        """The message or piece that `frame` completes; None when it completes none.

        Raises MessageTooBig, and UnicodeDecodeError for text that is not UTF-8. After that the connection must close.
        """
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
            if frame.fin:
                return self._message(bytes(frame.data))
        self._gathered += frame.data
        if self._opcode is Opcode.BINARY and self._gathered.startswith(_DATA):
            return self._piece(is_last=frame.fin)
        if len(self._gathered) > MAX_MESSAGE_BYTES:
            raise MessageTooBig
        if not frame.fin:
            return None
        whole, self._gathered = bytes(self._gathered), bytearray()
        return self._message(whole)

    def _message(self, data: bytes) -> bytes | str:
        return data if self._opcode is Opcode.BINARY else data.decode()

    def _piece(self, *, is_last: bool) -> bytes | None:
        end = len(self._gathered) if is_last else _end_of_characters(self._gathered)
        piece = bytes(self._gathered[:end])
        # The next piece begins with the type of the message, too.
        self._gathered[:end] = b"" if is_last else _DATA
        return piece if len(piece) > len(_DATA) else None


def _end_of_characters(data: bytearray) -> int:
    """The end of the last complete UTF-8 character in `data`; its length when it is not UTF-8."""
    for back in range(1, min(4, len(data))):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)
