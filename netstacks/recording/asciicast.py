"""A recording as asciicast v2: a header line, then one JSON line an event."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from netstacks.recording.chunks import Chunk, EventKind

_SIZE = re.compile(rb"\d{1,5}x\d{1,5}")


def lines(
    chunks: Iterable[Chunk], *, title: str, cols: int, rows: int, started_at: float, with_input: bool
) -> Iterator[str]:
    """The lines of the file. There is at least one event, for players that take a lone header for an object.

    Times are seconds since the recording began and never decrease. Bytes that are no UTF-8 are shown as U+FFFD.
    """
    header = {"version": 2, "width": cols, "height": rows, "timestamp": int(started_at), "title": title}
    yield json.dumps(header) + "\n"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    at = 0.0
    events = 0
    for chunk in chunks:
        for event in chunk.unpacked():
            at = max(at, event.at - started_at)
            match event.kind:
                case EventKind.OUTPUT:
                    kind, text = "o", decoder.decode(event.payload)
                case EventKind.INPUT if with_input:
                    kind, text = "i", event.payload.decode("utf-8", "replace")
                case EventKind.RESIZE:
                    kind, text = _resize(event.payload)
                case EventKind.NOTE:
                    kind, text = "m", event.payload.decode("utf-8", "replace")
                case _:
                    continue
            if text:
                events += 1
                yield json.dumps([round(at, 6), kind, text], ensure_ascii=False) + "\n"
    if not events:
        yield json.dumps([0, "o", ""]) + "\n"


def _resize(payload: bytes) -> tuple[str, str]:
    """Players stop at a size that is none, so that becomes a marker."""
    return ("r", payload.decode()) if _SIZE.fullmatch(payload) else ("m", "the window changed: its size is unreadable")
