"""Recordings in the asciicast v2 format: a header line, then one JSON line per event."""

import codecs
import json
import re
from collections.abc import Iterable, Iterator

from netstacks.recording.chunks import Chunk, EventKind

_SIZE = re.compile(rb"\d{1,5}x\d{1,5}")


def lines(
    chunks: Iterable[Chunk], *, title: str, cols: int, rows: int, started_at: float, with_input: bool
) -> Iterator[str]:
    """The lines of the file. It has at least one event: some players reject a lone header.

    Times are seconds since the beginning of the recording and never decrease. Bytes that are not UTF-8 become U+FFFD.
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
    """A resize event, or a marker for an invalid size, at which players stop."""
    return ("r", payload.decode()) if _SIZE.fullmatch(payload) else ("m", "the window changed: its size is unreadable")
