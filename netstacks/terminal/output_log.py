"""The output log: the bytes that a device has sent, numbered from 0; the newest part is in memory."""

# Smaller pieces are joined: each `bytes` object costs some memory of its own.
_PIECE_BYTES = 4096


class OutputLog:
    """Appends at the end, reads from any offset that is still held.

    `start` and `end` are offsets since the session began. About `capacity` bytes before `end` are kept, and all output
    that is not stored yet: older output is in the recording. Memory grows only as bytes arrive, and appended bytes are
    neither moved nor copied later.
    """

    def __init__(self, capacity: int, *, start: int = 0) -> None:
        self.capacity = capacity
        self.start = start
        self.end = start
        # Contiguous: the first begins at `_first`, the last ends at `end`.
        self._pieces: list[bytes] = []
        # At most `start`: the first piece is kept whole.
        self._first = start

    def append(self, data: bytes, *, keep_from: int) -> None:
        """Appends output; drops output that is more than `capacity` bytes old, but nothing from `keep_from` on."""
        if self._pieces and len(self._pieces[-1]) + len(data) <= _PIECE_BYTES:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        self.end += len(data)
        self.start = max(self.start, min(self.end - self.capacity, keep_from))
        dropped = 0
        while dropped < len(self._pieces) and self._first + len(self._pieces[dropped]) <= self.start:
            self._first += len(self._pieces[dropped])
            dropped += 1
        del self._pieces[:dropped]

    def read(self, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`. Raises ValueError outside of `start` to `end`."""
        if not self.start <= offset <= self.end:
            raise ValueError(f"offset {offset} is not in [{self.start}, {self.end}]")
        found: list[bytes] = []
        begin = self.end
        for piece in reversed(self._pieces):
            if begin <= offset:
                break
            begin -= len(piece)
            if begin < offset + limit:
                found.insert(0, piece)
        if len(found) == 1 and begin == offset and len(found[0]) <= limit:
            return found[0]
        return b"".join(found)[offset - begin : offset - begin + limit]
