"""Messages of frames: most are whole, and a long paste is handed on in pieces as it comes."""

from websockets.frames import Frame, Opcode

from netstacks.terminal.frames import FrameType

MAX_MESSAGE_BYTES = 1024 * 1024

_DATA = bytes([FrameType.DATA])


class MessageTooBig(Exception):
    """A message other than Data has grown past MAX_MESSAGE_BYTES."""


class Assembler:
    """Takes frames of data in their order, and returns messages.

    A fragmented message of the type Data, typed or pasted by a user, comes in pieces: each is a Data
    message of its own, and ends with a whole UTF-8 character. No other message may be longer than MAX_MESSAGE_BYTES.
    """

    def __init__(self) -> None:
        self._opcode = Opcode.BINARY
        self._gathered = bytearray()

    def take(self, frame: Frame) -> bytes | str | None:
        """The message or the piece that `frame` completes, if it does.

        Raises MessageTooBig, and UnicodeDecodeError for a text that is no UTF-8; nothing can be taken after that.
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
        # What follows is Data as well.
        self._gathered[:end] = b"" if is_last else _DATA
        return piece if len(piece) > len(_DATA) else None


def _end_of_characters(data: bytearray) -> int:
    """Where the last whole UTF-8 character of `data` ends, or all of it when it is no UTF-8 anyway."""
    for back in range(1, min(4, len(data))):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)
