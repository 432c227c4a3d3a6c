"""The output log: the bytes a device has sent, numbered from 0, the newest part of them in memory."""

# Smaller pieces are put together: each costs some bytes of its own.
_PIECE_BYTES = 4096


class OutputLog:
    """Append at the end, read from any offset that is still held.

    `start` and `end` are offsets since the session began. About `capacity` bytes behind `end` are kept, and whatever
    more is not stored yet: what the log does not hold is in the recording. Memory is taken only as bytes arrive, and
    what was appended is neither moved nor copied afterwards.
    """

    def __init__(self, capacity: int, *, start: int = 0) -> None:
        self.capacity = capacity
        self.start = start
        self.end = start
        self._pieces: list[bytes] = []
        # Where the first piece begins: it is held whole, and may reach back before `start`.
        self._first = start

    def append(self, data: bytes, *, keep_from: int) -> None:
        """Adds what the device sent, and forgets what is more than `capacity` old, but nothing from `keep_from` on."""
        if self._pieces and len(self._pieces[-1]) + len(data) <= _PIECE_BYTES:
            self._pieces[-1] += data
        else:
            self._pieces.append(data)
        self.end += len(data)
        self.start = max(self.start, min(self.end - self.capacity, keep_from))
        forgotten = 0
        while forgotten < len(self._pieces) and self._first + len(self._pieces[forgotten]) <= self.start:
            self._first += len(self._pieces[forgotten])
            forgotten += 1
        del self._pieces[:forgotten]

    def read(self, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`, which must lie between `start` and `end`."""
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
