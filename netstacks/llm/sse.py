"""A decoder for server-sent events (HTML Standard, section 9.2), as far as answers of models use them."""

from dataclasses import dataclass

from netstacks.llm.failures import ProviderBroken

# Larger than any piece of an answer. Parsing an event's JSON blocks the event loop, which the limit bounds.
MAX_EVENT_BYTES = 256 * 1024
# Far above the lines of any answer, including comments and empty lines. An event has two or three.
MAX_LINES = 600_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Event:
    """One event. `event` is its type, by default `message`."""

    event: str
    data: str


class Decoder:
    """Decodes bytes that may be split anywhere. An incomplete event at the end is discarded, as in the standard."""

    def __init__(self) -> None:
        # Parts of a line are joined once at its end: joining at each part would copy a long line again and again.
        self._parts: list[bytes] = []
        self._line_bytes = 0
        self._ends_with_cr = False
        self._lines = 0
        self._type = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in `chunk`.

        Raises ProviderBroken for an event or line above MAX_EVENT_BYTES, and above MAX_LINES in total.
        """
        if not chunk:
            return []
        if self._ends_with_cr:
            chunk = chunk.removeprefix(b"\n")
        self._ends_with_cr = chunk.endswith(b"\r")
        *lines, beginning = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events: list[Event] = []
        if lines:
            self._add(lines[0])
            lines[0] = b"".join(self._parts)
            if not self._lines:
                lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
            self._count(lines)
            self._parts, self._line_bytes = [], 0
            for line in lines:
                if line:
                    self._end_line(line)
                elif self._data:
                    events.append(self._end_event())
                else:
                    self._type = ""
        self._add(beginning)
        return events

    def _count(self, lines: list[bytes]) -> None:
        self._lines += len(lines)
        if self._lines > MAX_LINES:
            raise ProviderBroken(f"sent a stream of more than {MAX_LINES} lines")

    def _add(self, part: bytes) -> None:
        """Adds a part of the current line."""
        if part:
            self._parts.append(part)
            self._line_bytes += len(part)
            self._check_size()

    def _end_line(self, line: bytes) -> None:
        if line.startswith(b":"):
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value.decode("utf-8", "replace"))
            self._data_bytes += len(value) + 1
            self._check_size()
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")

    def _end_event(self) -> Event:
        event = Event(self._type or "message", "\n".join(self._data))
        self._type, self._data, self._data_bytes = "", [], 0
        return event

    def _check_size(self) -> None:
        if self._line_bytes + self._data_bytes > MAX_EVENT_BYTES:
            raise ProviderBroken(f"sent an event of more than {MAX_EVENT_BYTES} bytes")
