"""A controller that must end while the database is away keeps on disk what it could not store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from netstacks.recording import storage
from netstacks.recording.chunks import EventKind, verify
from netstacks.store.pool import Database
from tests.acceptance.lab import Lab, make_lab
from tests.controller import Controller, Terminal, until
from tests.postgres import Postgres
from tests.sshd import Sshd


@pytest.fixture
def own(own_postgres: Postgres, sshd: Sshd, tmp_path: Path) -> Iterator[tuple[Controller, Lab]]:
    controller = Controller(own_postgres.create_database(), SPOOL_DIR=str(tmp_path / "spool")).start()
    yield controller, make_lab(controller.login(), sshd)
    controller.stop()


def end_without_postgres(controller: Controller, lab: Lab, fail: Callable[[], None]) -> Terminal:
    """Prints before and after PostgreSQL fails, and ends the controller without it."""
    terminal = lab.open(epoch=0, offset=0)
    terminal.type("stty -echo; PS1='shell> '; clear; seq 1 2000; echo be''fore\r")
    terminal.expect("before\r\n")
    fail()
    terminal.type("seq 2001 20000; echo af''ter\r")
    terminal.expect("after\r\n")
    # What the shell prints later may reach the recording alone.
    until(lambda: terminal.output.endswith(b"shell> "), "the prompt, behind which the shell is silent")
    controller.terminate()
    assert terminal.closed()[0] == 1012
    assert controller.process is not None
    assert controller.process.wait(60) == 0
    return terminal


def recorded(controller: Controller, session_id: str) -> tuple[bytes, str]:
    """Output and notes of a recording whose chain verifies."""
    database = Database(controller.environ["DATABASE_URL"])
    database.open()
    try:
        chunks = list(storage.chunks(database, session_id))
    finally:
        database.close()
    assert verify(chunks) is None
    events = [event for chunk in chunks for event in chunk.unpacked()]
    notes = [event.payload.decode() for event in events if event.kind is EventKind.NOTE]
    return b"".join(chunk.output() for chunk in chunks), "\n".join(notes)


@pytest.mark.parametrize("fault", ["stop", "freeze"])
def test_unstored_chunks_are_in_their_place_after_the_next_start(
    own: tuple[Controller, Lab], own_postgres: Postgres, fault: str
) -> None:
    controller, lab = own
    terminal = end_without_postgres(controller, lab, getattr(own_postgres, fault))
    spool = Path(controller.environ["SPOOL_DIR"])
    (kept,) = spool.glob("*.spool")
    assert (spool.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)

    own_postgres.thaw() if fault == "freeze" else own_postgres.start()
    controller.start()
    assert list(spool.glob("*.spool")) == []
    output, notes = recorded(controller, terminal.info["session_id"])
    assert output == terminal.output
    assert "stored late" in notes
    again = terminal.again(epoch=1, offset=len(terminal.output)).connected()
    assert again.info["session_id"] == terminal.info["session_id"]
    again.type("echo claimed-$((1+1))\r")
    again.expect("claimed-2")
    again.leave()


def test_spooled_chunks_of_an_older_epoch_are_refused_loudly_and_kept(
    own: tuple[Controller, Lab], own_postgres: Postgres
) -> None:
    controller, lab = own
    terminal = end_without_postgres(controller, lab, own_postgres.stop)
    session_id = terminal.info["session_id"]
    own_postgres.start()
    with psycopg.connect(controller.environ["DATABASE_URL"]) as connection:
        connection.execute("UPDATE sessions SET epoch = epoch + 1, owner = NULL, state = 'ended', ended_at = now()")

    controller.start()
    (refused,) = Path(controller.environ["SPOOL_DIR"]).glob("refused/*.spool")
    assert refused.name.startswith(session_id)
    assert "spool.refused" in controller.log()
    output, notes = recorded(controller, session_id)
    assert terminal.output.startswith(output)
    assert f"{len(terminal.output) - len(output)} bytes of epoch 1 are missing" in notes
    api = controller.login()
    until(lambda: api.get("/api/audit?event=recording.refused")["items"], "the audit row")
