"""The output log: the bytes a device has sent, numbered from 0, the newest part of them in memory."""


class OutputLog:
    """Append at the end, read from any offset that is still held.

    `start` and `end` are offsets since the session began. About `capacity` bytes behind `end` are kept, and whatever
    more is not stored yet: what the log does not hold is in the recording. Memory is taken only as bytes arrive.
    """

    def __init__(self, capacity: int, *, start: int = 0) -> None:
        self.capacity = capacity
        self.start = start
        self._buffer = bytearray()

    @property
    def end(self) -> int:
        return self.start + len(self._buffer)

    def append(self, data: bytes, *, keep_from: int) -> None:
        """Adds what the device sent, and forgets what is more than `capacity` old, but nothing from `keep_from` on."""
        self._buffer += data
        surplus = min(len(self._buffer) - self.capacity, keep_from - self.start)
        if surplus > 0:
            del self._buffer[:surplus]
            self.start += surplus

    def read(self, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`, which must lie between `start` and `end`."""
        position = offset - self.start
        if not 0 <= position <= len(self._buffer):
            raise ValueError(f"offset {offset} is not in [{self.start}, {self.end}]")
        with memoryview(self._buffer) as view:
            return bytes(view[position : position + limit])

    def line_start(self, offset: int) -> int:
        """The first line that begins at `offset` or later and is still held; `offset` itself in a log without lines."""
        position = max(0, offset - self.start)
        newline = self._buffer.find(b"\n", position) if position else -1
        return self.start + (newline + 1 if newline >= 0 else position)
