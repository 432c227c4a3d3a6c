"""Feeds a recorded stream to a dialect's reader."""

from collections.abc import Iterable

from netstacks.llm.conversation import Finished, Piece
from netstacks.llm.sse import Decoder
from netstacks.llm.stream_parser import Reader


def read(reader: Reader, stream: Iterable[bytes]) -> list[Piece]:
    """The pieces of an answer, up to its end. Raises what the reader raises."""
    decoder = Decoder()
    pieces: list[Piece] = []
    for part in stream:
        for event in decoder.feed(part):
            pieces += reader.feed(event)
            if pieces and isinstance(pieces[-1], Finished):
                return pieces
    return pieces + reader.end()
