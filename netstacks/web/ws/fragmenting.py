"""Splits large frames of a client into fragments, because the WebSocket library buffers each frame as a whole."""

import struct

# A multiple of the four bytes of the masking key: each fragment then keeps its frame's key and masked bytes.
FRAGMENT_BYTES = 64 * 1024

_CONTINUATION, _BINARY = 0x0, 0x2
_FIN, _OPCODE, _MASKED, _LENGTH = 0x80, 0x0F, 0x80, 0x7F
_KEY_BYTES = 4
_SHORT_HEAD_BYTES = 2 + _KEY_BYTES


class Fragmenter:
    """Rewrites a client's bytes: a large binary frame becomes one of FRAGMENT_BYTES and continuations (RFC 6455, 5.4).

    Parses the headers of frames only, and leaves their validation to the library. Buffers nothing but an incomplete
    header.
    """

    def __init__(self) -> None:
        self._begun = b""
        self._left = 0
        """Payload bytes of the current frame that have not arrived."""
        self._is_cut = False
        self._cut_in = 0
        """Payload bytes of a split frame until the next inserted header."""
        self._fin = 0
        self._key = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes to give to the library for `data`."""
        data, self._begun = self._begun + data, b""
        out: list[bytes] = []
        at = kept_from = 0
        while at < len(data):
            if self._left:
                at += self._pass(len(data) - at)
                if self._is_cut and self._left and not self._cut_in:
                    out += (data[kept_from:at], self._next_head(_CONTINUATION))
                    kept_from = at
                continue
            if at + _SHORT_HEAD_BYTES <= len(data) and _MASKED <= data[at + 1] < _MASKED | 126:
                # A short masked frame: the common case (a key). The general path costs a fifth more.
                self._is_cut = False
                self._left = data[at + 1] & _LENGTH
                at += _SHORT_HEAD_BYTES
                continue
            size = _head_size(data, at)
            if at + size > len(data):
                out.append(data[kept_from:at])
                self._begun = data[at:]
                return b"".join(out)
            if self._enter(data[at : at + size]):
                out += (data[kept_from:at], self._next_head(data[at] & ~_FIN))
                kept_from = at + size
            at += size
        if not out:
            return data
        out.append(data[kept_from:])
        return b"".join(out)

    def _pass(self, available: int) -> int:
        """Passes payload up to the next split."""
        count = min(self._left, available)
        if self._is_cut:
            count = min(count, self._cut_in)
            self._cut_in -= count
        self._left -= count
        return count

    def _enter(self, head: bytes) -> bool:
        """Begins a frame; True when it must be split."""
        length = head[1] & _LENGTH
        if length == 126:
            (length,) = struct.unpack_from("!H", head, 2)
        elif length == 127:
            (length,) = struct.unpack_from("!Q", head, 2)
        self._left = length
        is_data = head[0] & _OPCODE in (_BINARY, _CONTINUATION)
        self._is_cut = is_data and length > FRAGMENT_BYTES and bool(head[1] & _MASKED)
        if self._is_cut:
            self._fin = head[0] & _FIN
            self._key = head[-_KEY_BYTES:]
        return self._is_cut

    def _next_head(self, first_byte: int) -> bytes:
        """The header of the next fragment. The last fragment has the frame's own FIN bit."""
        size = self._cut_in = min(self._left, FRAGMENT_BYTES)
        fin = self._fin if size == self._left else 0
        return struct.pack("!BBQ", fin | first_byte, _MASKED | 127, size) + self._key


def _head_size(data: bytes, at: int) -> int:
    """The length of the frame header at `at`, as far as the bytes present tell."""
    if at + 1 >= len(data):
        return 2
    second = data[at + 1]
    length = second & _LENGTH
    return 2 + (8 if length == 127 else 2 if length == 126 else 0) + (_KEY_BYTES if second & _MASKED else 0)
