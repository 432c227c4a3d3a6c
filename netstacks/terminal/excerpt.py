"""Excerpts: the output in a recording as plain text of a bounded length."""

from dataclasses import dataclass
from uuid import UUID

from netstacks import greenlets
from netstacks.recording import storage
from netstacks.recording.chunks import ChunkDamaged
from netstacks.store.pool import Database
from netstacks.terminal.transcript import Transcript


@dataclass(frozen=True)
class Excerpt:
    """The beginning and the end of the device's output.

    `left_out_bytes` of the `recorded_bytes` are missing between the two. With none missing, `beginning` is everything.
    """

    beginning: str
    end: str
    left_out_bytes: int
    recorded_bytes: int


def excerpt(database: Database, session_id: UUID, most_bytes: int) -> Excerpt:
    """Reads at most about `most_bytes` of output. Whole lines are left out, if there are lines.

    Input is not in it, and so no password that the device does not echo.
    """
    with database.transaction() as tx:
        recorded, _, end = storage.tail(tx, session_id, most_bytes // 2)
    if recorded <= most_bytes:
        return Excerpt(_plain(_beginning(database, session_id, recorded)), "", 0, recorded)
    beginning = _beginning(database, session_id, most_bytes // 2)
    # Half a line could hold half a secret, which redaction would not recognise.
    beginning = beginning[: beginning.rfind(b"\n") + 1] or beginning
    end = end[end.find(b"\n") + 1 :]
    return Excerpt(_plain(beginning), _plain(end), recorded - len(beginning) - len(end), recorded)


def _beginning(database: Database, session_id: UUID, size: int) -> bytes:
    """The first `size` bytes of output, with a note in place of each damaged chunk."""
    found = bytearray()
    for chunk in storage.chunks(database, session_id):
        try:
            found += chunk.output()
        except ChunkDamaged as error:
            note = f"\r\n[{error}: this part of the recording is left out]\r\n".encode()
            found += note
            size += len(note)
        if len(found) >= size:
            break
    return bytes(found[:size])


def _plain(output: bytes) -> str:
    # Cursor movements can make this take a tenth of a second, too long for the event loop.
    return greenlets.in_thread(_text, output)


def _text(output: bytes) -> str:
    transcript = Transcript(len(output))
    transcript.feed(output)
    lines = [*transcript.lines, transcript.line.rstrip()]
    if transcript.is_cut:
        # Cursor movements make many columns of few bytes, so the text may be longer than the output.
        lines.append("[The rest is left out: it is longer than what the device sent]")
    return "\n".join(lines).strip("\n")
