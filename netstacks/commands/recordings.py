"""`netstacks recordings`: verifies that recordings are complete and unaltered."""

import itertools
from uuid import UUID

import click

from netstacks.commands import database
from netstacks.commands.printing import print_line
from netstacks.recording import storage
from netstacks.recording.chunks import verify
from netstacks.store.pool import Database


@click.group("recordings")
def recordings_group() -> None:
    """Recordings of sessions."""


@recordings_group.command("verify")
@click.argument("recording_id", type=click.UUID, required=False)
def verify_command(recording_id: UUID | None) -> None:
    """Verifies the hash chain of one recording, or of all; prints gaps, exit code 1 when there are any."""
    with database.opened() as opened:
        if recording_id is None:
            with opened.transaction() as tx:
                wanted = storage.ids(tx)
        else:
            wanted = [recording_id]
        broken = sum(not _prove(opened, each) for each in wanted)
    print_line(f"{len(wanted)} recordings, {broken} broken")
    if broken:
        raise SystemExit(1)


def verify_all(opened: Database) -> tuple[int, list[UUID]]:
    """The number of recordings, and those whose chain is broken."""
    with opened.transaction() as tx:
        ids = storage.ids(tx)
    return len(ids), [each for each in ids if verify(storage.chunks(opened, each)) is not None]


def _prove(opened: Database, recording_id: UUID) -> bool:
    chunks = storage.chunks(opened, recording_id)
    first = next(chunks, None)
    if first is None:
        print_line(f"{recording_id}: there is no such recording")
        return False
    gap = verify(itertools.chain([first], chunks))
    if gap is not None:
        print_line(f"{recording_id}: broken at chunk {gap.seq} of epoch {gap.epoch}: {gap.problem}")
        return False
    print_line(f"{recording_id}: proven")
    return True
