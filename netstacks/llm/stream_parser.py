"""From the bytes of an answer to its pieces, without I/O."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Protocol

from netstacks.llm import members
from netstacks.llm.conversation import Finished, Piece, TextDelta, ToolInputDelta
from netstacks.llm.failures import ProviderFailure
from netstacks.llm.sse import Decoder, Event


class Reader(Protocol):
    """The parser of a dialect's events."""

    progress: int
    """How many times the model has sent content, including reasoning."""

    @property
    def is_complete(self) -> bool:
        """Whether the dialect's end of the answer has been read."""

    def feed(self, event: Event) -> list[Piece]:
        """The pieces of an event. Raises ProviderFailure."""

    def end(self) -> list[Piece]:
        """The last pieces, at the end of the stream. Raises ProviderFailure when the answer is not complete."""


class StreamParser:
    """Parses one answer, which may be split anywhere."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._decoder = Decoder()
        self._characters = 0
        self.is_over = False
        """Whether Finished has been returned."""
        self.failure: ProviderFailure | None = None
        """What ended the answer after the pieces that were returned."""

    @property
    def progress(self) -> int:
        """How many times the model has sent content, including reasoning."""
        return self._reader.progress

    @property
    def is_complete(self) -> bool:
        """Whether the end of the answer has been read: only its token count may be missing."""
        return self._reader.is_complete

    def feed(self, data: bytes, *, is_last: bool = False) -> list[Piece]:
        """The pieces that end in `data`, with adjacent deltas joined; `is_last`: the stream ends with it."""
        read: list[Piece] = []
        pieces: list[Piece] = []
        try:
            try:
                self._read(read, data, is_last=is_last)
            finally:
                for piece in _joined(read):
                    self._count(piece)
                    pieces.append(piece)
        except ProviderFailure as failure:
            self.failure = failure
        self.is_over = bool(pieces) and isinstance(pieces[-1], Finished)
        return pieces

    def _read(self, read: list[Piece], data: bytes, *, is_last: bool) -> None:
        """Adds the pieces to `read`, which keeps those before a failure."""
        try:
            for event in self._decoder.feed(data):
                read += self._reader.feed(event)
                if read and isinstance(read[-1], Finished):
                    return
        except ProviderFailure:
            # An answer that is complete stays so, whatever fails after its end.
            if not self._reader.is_complete:
                raise
            is_last = True
        if is_last:
            read += self._reader.end()

    def _count(self, piece: Piece) -> None:
        match piece:
            case TextDelta(text) | ToolInputDelta(text):
                self._characters += len(text)
                members.check_size(0, self._characters)


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Joins adjacent deltas, because each piece has a cost on its way to the client."""
    for kind, alike in itertools.groupby(pieces, type):
        if kind is TextDelta:
            text = "".join(each.text for each in alike if isinstance(each, TextDelta))
            # JSON may contain lone surrogates, which UTF-8 cannot encode.
            yield TextDelta(text.encode("utf-8", "replace").decode())
        elif kind is ToolInputDelta:
            yield ToolInputDelta("".join(each.json for each in alike if isinstance(each, ToolInputDelta)))
        else:
            yield from alike
