"""Terminals that count without a pause, each with a user that reconnects through any instance after every fault."""

import contextlib
import re
import threading
import time
import uuid
from dataclasses import dataclass
from itertools import pairwise

from netstacks.recording import storage
from netstacks.recording.chunks import Chunk, verify
from netstacks.store.pool import Database
from tests.acceptance.cluster import come_back
from tests.acceptance.lab import Lab
from tests.controller import Controller, until

# A line every few milliseconds, numbered from 0 by each new shell. With noflsh a Ctrl+C, which bash may miss, does not
# make the terminal driver discard the lines that sshd has not read.
_COUNT = "PS1=; stty -echo noflsh; clear; i=0; while :; do echo line-$((i++)); sleep .01; done\r"


@dataclass(frozen=True)
class Seen:
    """What one connection of a client was sent: the session's bytes from `offset` on."""

    epoch: int
    offset: int
    output: bytes


class Counter:
    """A client that speaks offsets, as our own page does, on a thread of its own."""

    def __init__(self, lab: Lab, via: list[Controller]) -> None:
        self._via = via
        self._stopping = threading.Event()
        self._terminal = lab.open(epoch=0, offset=0)
        self.session_id = self._terminal.info["session_id"]
        self.seen: list[Seen] = []
        self.failure: BaseException | None = None
        self._terminal.type(_COUNT)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._terminal.close:
                    self._come_back()
                time.sleep(0.02)
        except BaseException as error:
            self.failure = error

    def _come_back(self) -> None:
        seen = self._note()
        self._terminal = come_back(self._terminal, *self._via, epoch=seen.epoch, offset=seen.offset + len(seen.output))
        if self._terminal.info["epoch"] != seen.epoch:
            # A new shell; unread output of the old one may precede its own.
            with contextlib.suppress(Exception):  # Lost again already: the next round comes back.
                self._terminal.type(_COUNT)

    def _note(self) -> Seen:
        info = self._terminal.info
        self.seen.append(Seen(info["epoch"], info["offset"], self._terminal.output))
        return self.seen[-1]

    @property
    def is_attached(self) -> bool:
        """Whether a shell counts for it: one that is lost before has printed nothing that `check` could look at."""
        counts = self._terminal.close is None and re.search(rb"line-\d", self._terminal.output)
        return self.failure is None and bool(counts)

    @property
    def epoch(self) -> int:
        return int(self._terminal.info["epoch"])

    def stop(self) -> None:
        """Ends the session; everything is in `seen` then."""
        self._stopping.set()
        self._thread.join(120)
        if self.failure is not None:
            raise self.failure
        self._terminal.exit()
        self._note()


def check(counter: Counter, database_url: str) -> None:
    """The recording is whole and proven, each shell's lines are all there, and the client saw just these bytes."""
    database = Database(database_url)
    database.open()
    try:
        session_id = uuid.UUID(counter.session_id)
        until(lambda: _has_ended(database, session_id), "the end of the recording")
        chunks = list(storage.chunks(database, session_id))
    finally:
        database.close()
    assert verify(iter(chunks)) is None
    output = b"".join(chunk.output() for chunk in chunks)
    for before, after in pairwise(counter.seen):
        if before.epoch == after.epoch:
            assert after.offset == before.offset + len(before.output), f"epoch {after.epoch}: a hole, or a repetition"
    for seen in counter.seen:
        recorded = output[seen.offset : seen.offset + len(seen.output)]
        assert recorded == seen.output, f"epoch {seen.epoch}, from {seen.offset}"
    for epoch, printed in _by_epoch(chunks).items():
        lines = [int(number) for number in re.findall(rb"line-(\d+)\r\n", printed)]
        assert lines, f"nothing of epoch {epoch}"
        wrong = next((at for at, number in enumerate(lines) if number != at), None)
        assert wrong is None, f"epoch {epoch}: line {wrong} of {lines[max(0, wrong - 3) : wrong + 5]}"


def _has_ended(database: Database, session_id: uuid.UUID) -> bool:
    with database.transaction() as tx:
        row = tx.execute("SELECT state FROM sessions WHERE id = %s", [session_id]).fetchone()
    return row is not None and dict(row)["state"] == "ended"


def _by_epoch(chunks: list[Chunk]) -> dict[int, bytes]:
    printed: dict[int, bytes] = {}
    for chunk in chunks:
        printed[chunk.epoch] = printed.get(chunk.epoch, b"") + chunk.output()
    return printed
