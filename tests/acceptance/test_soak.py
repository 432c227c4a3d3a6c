"""Two hundred terminals at once for SOAK_SECONDS: floods, slow readers, lost connections, and silence."""

import hashlib
import json
import os
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netstacks.recording import storage
from netstacks.recording.chunks import Chunk, verify
from netstacks.store.pool import Database
from tests.acceptance.lab import Lab
from tests.acceptance.swarm import Client, Habit, Program, Swarm
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.processes import open_files, rss_bytes

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
HABITS = {
    Habit("flood", lines=250_000, pause_secs=5): 20,
    Habit("slow reader of a flood", lines=250_000, pause_secs=0, reads_bytes_per_sec=24_000): 30,
    Habit("connections that are lost", lines=1_000, pause_secs=0.3, leaves_every_secs=4): 50,
    Habit("silence", lines=0, pause_secs=1): 100,
}
# Opened so many at a time: the devices' log-ins are most of the work.
BATCH = 8
# What the worker may grow from the second quarter of the time to the last. Were it to keep what passes through, it
# would grow by more than that every few seconds; the logs of some sessions are still being filled after a quarter.
GROWTH_BYTES = 24 * 1024 * 1024
# The connection pool may grow and shrink.
GROWTH_FILES = 24


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database(), LOG_FORMAT="json").start()
    yield controller
    controller.stop()


@pytest.fixture
def program() -> Iterator[Program]:
    """In a folder that the device's user may read, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="netstacks-soak-") as folder:
        Path(folder).chmod(0o755)
        yield Program(Path(folder), max(habit.lines for habit in HABITS))


@pytest.mark.alone
@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS + 300)
def test_two_hundred_sessions_lose_no_byte_and_keep_nothing(lab: Lab, controller: Controller, program: Program) -> None:
    worker = controller.worker_pids()[0]
    files_at_rest = open_files(worker)
    swarm = Swarm()
    for habits in _batches():
        with ThreadPoolExecutor(BATCH // 2) as pool:
            for client in pool.map(lambda habit: _open(lab, program, habit), habits):
                swarm.add(client)
        _run(swarm, 0.05)

    _run(swarm, SOAK_SECONDS / 4)
    files = open_files(worker)
    memory = _usual_memory(swarm, worker, SOAK_SECONDS / 4)
    _run(swarm, SOAK_SECONDS / 4)
    memory_at_end = _usual_memory(swarm, worker, SOAK_SECONDS / 4)
    files_at_end = open_files(worker)

    for client in swarm.clients:
        client.stay()
    swarm.run(lambda: all(client.is_attached for client in swarm.clients))
    program.stop()
    _finish(swarm)
    assert Counter(client.socket.close_code for client in swarm.clients) == {4001: len(swarm.clients)}
    assert all(client.stream.has_ended for client in swarm.clients)
    assert sum(client.resumes for client in swarm.clients) >= 50
    until(lambda: not lab.api.get("/api/sessions?state=live")["items"], "the end of all sessions")
    _check_recordings(swarm.clients, Database(controller.environ["DATABASE_URL"]))

    assert memory_at_end - memory < GROWTH_BYTES, f"from {memory} to {memory_at_end} bytes of memory"
    assert abs(files_at_end - files) < GROWTH_FILES, f"from {files} to {files_at_end} open files"
    until(lambda: open_files(worker) < files_at_rest + GROWTH_FILES, "the end of all connections")
    _check_log(controller.log())


def _batches() -> list[list[Habit]]:
    """All habits mixed, a few sessions at a time."""
    habits = [habit for habit, count in HABITS.items() for _ in range(count)]
    batches = len(habits) // BATCH
    return [habits[first::batches] for first in range(batches)]


def _open(lab: Lab, program: Program, habit: Habit) -> Client:
    query = {"credential_id": lab.credential["id"], "session_id": f"device-{lab.device['id']}"}
    client = Client(lab.api, query, program, habit)
    client.open()
    return client


def _run(swarm: Swarm, duration_secs: float) -> None:
    ends_at = time.monotonic() + duration_secs
    swarm.run(lambda: time.monotonic() >= ends_at)


def _usual_memory(swarm: Swarm, worker: int, duration_secs: float) -> float:
    """The median over that time: what waits for a busy database comes and goes."""
    samples = []
    for _ in range(20):
        _run(swarm, duration_secs / 20)
        samples.append(rss_bytes(worker))
    return statistics.median(samples)


def _finish(swarm: Swarm) -> None:
    """All clients read the rest as fast as it comes."""
    gives_up_at = time.monotonic() + 120
    for client in swarm.clients:
        client.hurry()

    def has_ended() -> bool:
        assert time.monotonic() < gives_up_at, [str(client) for client in swarm.clients if not client.has_ended]
        return all(client.has_ended for client in swarm.clients)

    swarm.run(has_ended)


def _check_recordings(clients: list[Client], database: Database) -> None:
    """Each is proven by its chain, and holds exactly the bytes that its client was sent."""
    database.open()
    try:
        for client in clients:
            sha256 = hashlib.sha256()
            chunks = storage.chunks(database, uuid.UUID(client.session_id))
            assert verify(_passed_to(sha256.update, chunks)) is None
            assert sha256.digest() == client.stream.sha256.digest(), str(client)
    finally:
        database.close()


def _passed_to(take: Callable[[bytes], None], chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        take(chunk.output())
        yield chunk


def _check_log(log: str) -> None:
    assert "Traceback" not in log
    levels = Counter(json.loads(line)["level"] for line in log.splitlines())
    assert levels["error"] == levels["critical"] == 0, log
