"""What a recording shows, as plain text of a bounded length."""

from dataclasses import dataclass
from uuid import UUID

from netstacks import greenlets
from netstacks.recording import storage
from netstacks.recording.chunks import ChunkDamaged
from netstacks.store.pool import Database
from netstacks.terminal.transcript import Transcript


@dataclass(frozen=True)
class Excerpt:
    """The beginning and the end of what the device printed.

    Of the `recorded_bytes`, `left_out_bytes` between the two are missing. When there are none, the beginning is all.
    """

    beginning: str
    end: str
    left_out_bytes: int
    recorded_bytes: int


def excerpt(database: Database, session_id: UUID, most_bytes: int) -> Excerpt:
    """Reads at most about `most_bytes` of output. What is left out begins and ends with a line, if there are lines.

    Keystrokes are not in it: a password that the device does not show is not either.
    """
    with database.transaction() as tx:
        recorded, _, end = storage.tail(tx, session_id, most_bytes // 2)
    if recorded <= most_bytes:
        return Excerpt(_plain(_beginning(database, session_id, recorded)), "", 0, recorded)
    beginning = _beginning(database, session_id, most_bytes // 2)
    # Half a line could hold half a secret, which cannot be recognised.
    beginning = beginning[: beginning.rfind(b"\n") + 1] or beginning
    end = end[end.find(b"\n") + 1 :]
    return Excerpt(_plain(beginning), _plain(end), recorded - len(beginning) - len(end), recorded)


def _beginning(database: Database, session_id: UUID, size: int) -> bytes:
    """The first `size` bytes of output, and a note in the place of each chunk that is damaged."""
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
    # Movements of the cursor can make it take a tenth of a second.
    return greenlets.in_thread(_text, output)


def _text(output: bytes) -> str:
    transcript = Transcript(len(output))
    transcript.feed(output)
    lines = [*transcript.lines, transcript.line.rstrip()]
    if transcript.is_cut:
        # Movements of the cursor can make many columns of few bytes.
        lines.append("[The rest is left out: it is longer than what the device sent]")
    return "\n".join(lines).strip("\n")
