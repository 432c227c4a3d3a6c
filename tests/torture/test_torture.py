"""Everything at once, by chance: three instances under a random enemy, judged by what was seen from outside.

`make torture SECONDS=600 SEED=1` plays a seed again. What was done, with its time, and what was found is in
`artefacts/torture-SEED.log`.
"""

import contextlib
import os
import random
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from netstacks.store import recordings, sessions
from netstacks.store.pool import Database
from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, Cluster
from tests.acceptance.conftest import Lab
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import SSHD, Sshd
from tests.torture.clients import Typist, Watcher
from tests.torture.device import Device, Owners
from tests.torture.history import History, Recording, judge
from tests.torture.nemesis import INSTANCES, Nemesis, Store, can_be_hidden, plan
from tests.torture.stores import GuardedValkey, LoneValkey

SECONDS = float(os.environ.get("TORTURE_SECONDS", "15"))
SEED = int(os.environ.get("TORTURE_SEED") or random.SystemRandom().randrange(1_000_000))
SESSIONS, VIEWERS = 8, 3
# What must be gone from Valkey when everybody has left.
REGISTERED = ("instances", "instance:*", "session:*", "owned:*")
ARTEFACTS = Path(__file__).parents[2] / "artefacts"


class Notes:
    """A line at a time, printed and kept in a file."""

    def __init__(self, seed: int) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        self._file = ARTEFACTS / f"torture-{seed}.log"
        self._file.write_text("")

    def __call__(self, line: str) -> None:
        print(line, flush=True)
        with self._file.open("a") as file:
            file.write(line + "\n")


class Sightings(threading.Thread):
    """What was once seen in the recordings must be there at the end."""

    def __init__(self, database_url: str) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, set[tuple[int, int, bytes]]] = {}
        self._url = database_url
        self._stopping = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stopping.wait(1):
                rows = connection.execute(
                    "SELECT DISTINCT ON (session_id) session_id::text, epoch, seq, sha256 FROM recording_chunks"
                    " ORDER BY session_id, epoch DESC, seq DESC"
                )
                for session_id, *chunk in rows:
                    self.seen.setdefault(session_id, set()).add(tuple(chunk))

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@pytest.fixture
def device() -> Device:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    return Device()


@pytest.fixture
def sshd(device: Device) -> Iterator[Sshd]:
    with Sshd(command=device.command) as server:
        yield server


@pytest.mark.timeout(SECONDS + 300)
def test_no_promise_is_broken_whatever_happens(
    postgres: Postgres, sshd: Sshd, device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    note = Notes(SEED)
    with capsys.disabled():  # So that a run that was killed can be played again, too.
        note(f"\nmake torture SECONDS={SECONDS:.0f} SEED={SEED}")
    # Behind Sentinels by every other seed.
    store = (GuardedValkey if SEED % 2 else LoneValkey)(postgres, len(INSTANCES), SESSION_DETACH_TTL_SECS="300")
    for number, controller in enumerate(store.cluster.controllers):
        can_be_hidden(controller, number)
    try:
        with store.cluster:
            try:
                history = _torture(store, sshd, device, note)
            finally:
                for name, controller in zip(INSTANCES, store.cluster.controllers, strict=True):
                    (ARTEFACTS / f"torture-{SEED}-{name}.log").write_text(controller.log())
    finally:
        store.close()
    note(
        f"{len(history.faults)} faults, {len(history.shells)} shells, {len(history.connections)} connections,"
        f" {sum(len(shell.read) for shell in history.shells)} lines typed"
    )
    violations = judge(history)
    for violation in violations:
        note(violation)
    assert not violations, f"seed {SEED}: {len(violations)} violations, the first: {violations[0]}"


def _torture(store: Store, sshd: Sshd, device: Device, note: Notes) -> History:
    cluster = store.cluster
    owners, sightings = Owners(sshd.port), Sightings(cluster.database_url)
    nemesis = Nemesis(store, owners.watch)
    lab = cluster.lab(sshd)
    labs = [Lab(lab.api.at(each), lab.device, lab.credential) for each in cluster.controllers]
    typists = [Typist(f"s{n}", labs[n % 3], cluster.controllers, f"{SEED}/{n}") for n in range(SESSIONS)]
    viewers = [
        Watcher(f"viewer of {each.name}", each.session, each.share(), cluster.controllers, f"{SEED}/v{each.name}")
        for each in typists[:VIEWERS]
    ]
    threads = [owners, sightings, *typists, *viewers]
    for thread in threads:
        thread.start()
    nemesis.run(plan(SEED, SECONDS, store.kinds_of_instances, store.kinds), note)
    try:
        cluster.gathered(3)
    except AssertionError:
        for controller in cluster.controllers:
            note(f"running: {controller.is_running}, health: {controller.health()}")
        raise
    for viewer in viewers:
        viewer.stop()
    for typist in typists:
        typist.stop()
    with ThreadPoolExecutor(SESSIONS) as pool:
        list(pool.map(Typist.finish, typists))
    with contextlib.suppress(AssertionError):  # The judge says which did not end.
        until(lambda: _all_ended(cluster.database_url), "the end of all sessions", 20)
    owners.stop()
    sightings.stop()
    with contextlib.suppress(AssertionError):  # The judge says what was left behind.
        until(
            lambda: len(cluster.peer_addresses()) == len(cluster.controllers), "the reaping of the dead", 3 * TTL_SECS
        )
    _drain(cluster)
    clients = [*typists, *viewers, *(window for typist in typists for window in typist.windows)]
    return History(
        shells=tuple(device.shells(owners.by_port)),
        connections=tuple(each for client in clients for each in client.connections),
        recordings=_recordings(cluster.database_url, typists, sightings),
        faults=tuple(nemesis.faults),
        left_behind=tuple(key for kind in REGISTERED for key in cluster.keys(f"netstacks:{kind}")),
        complaints=tuple(f"{client.name}: {client.failure!r}" for client in clients if client.failure),
        ttl_secs=TTL_SECS - HEARTBEAT_SECS,
    )


def _all_ended(database_url: str) -> bool:
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT 1 FROM sessions WHERE state <> 'ended'").fetchone() is None


def _recordings(database_url: str, typists: list[Typist], sightings: Sightings) -> tuple[Recording, ...]:
    database = Database(database_url)
    database.open()
    try:
        return tuple(_recording(database, typist, sightings) for typist in typists)
    finally:
        database.close()


def _recording(database: Database, typist: Typist, sightings: Sightings) -> Recording:
    session_id = uuid.UUID(typist.session_id)
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    return Recording(
        typist.session,
        tuple(recordings.chunks(database, session_id)),
        row.state,
        row.end_reason,
        frozenset(sightings.seen.get(typist.session_id, set())),
    )


def _drain(cluster: Cluster) -> None:
    for controller in cluster.controllers:
        controller.terminate()
    for controller in cluster.controllers:
        assert controller.process is not None
        controller.process.wait(30)
