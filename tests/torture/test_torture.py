"""Random faults of every kind at once: three instances, judged by observations from outside.

`make torture SECONDS=600 SEED=1` plays a seed again. What was done, with its time, and what was found is in
`artefacts/torture-SEED.log`. TORTURE_CROWD is how many sessions end at once, where one crowd does. Half of the seeds
have a standing crowd besides: see `has_standing_crowd`.
"""

import contextlib
import os
import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from bench.cheap_sshd import CheapSshd
from netstacks.recording import storage
from netstacks.store import sessions
from netstacks.store.pool import Database
from tests.acceptance.cluster import HEARTBEAT_SECS, TTL_SECS, Cluster
from tests.acceptance.lab import Lab
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import SSHD, Sshd
from tests.torture.clients import Typist, Watcher
from tests.torture.device import Device, Owners
from tests.torture.faults import can_be_hidden
from tests.torture.history import History, Recording, Shell
from tests.torture.judge import judge
from tests.torture.laws_of_owners import CONTACT_SECS
from tests.torture.nemesis import CROWD_SECS, Nemesis
from tests.torture.plan import (
    INSTANCES,
    SHORT_DETACH_TTL_SECS,
    detach_ttl_secs,
    has_standing_crowd,
    last_victim,
    of_instances,
    plan,
)
from tests.torture.sightings import Sightings
from tests.torture.standing_crowd import SETTLE_SECS, StandingCrowd
from tests.torture.stores import GuardedValkey, LoneValkey, Store

SECONDS = float(os.environ.get("TORTURE_SECONDS", "15"))
SEED = int(os.environ.get("TORTURE_SEED") or random.SystemRandom().randrange(1_000_000))
SESSIONS, VIEWERS, LEAVERS = 8, 3, 2
DETACH_TTL_SECS = detach_ttl_secs(SEED)
# What must be gone from Valkey when all clients have left.
REGISTERED = ("instances", "instance:*", "session:*", "owned:*")
ARTEFACTS = Path(__file__).parents[2] / "artefacts"
_CALM_SECS, _END_SECS = 40, 30
# For the standing crowd to be opened, to settle and to be judged.
_CROWD_SECS = SETTLE_SECS + 90 if has_standing_crowd(SEED) else 0


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


@pytest.fixture
def device() -> Device:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    return Device()


@pytest.fixture
def sshd(device: Device) -> Iterator[Sshd]:
    with Sshd(command=device.command) as server:
        yield server


@pytest.fixture
def devices_of_crowd() -> Iterator[CheapSshd | None]:
    """Those of the standing crowd, when this seed has one."""
    if not has_standing_crowd(SEED):
        yield None
        return
    with CheapSshd() as server:
        yield server


@pytest.mark.alone
@pytest.mark.timeout(SECONDS + 300 + _CROWD_SECS)
def test_no_promise_is_broken_whatever_happens(
    postgres: Postgres,
    sshd: Sshd,
    device: Device,
    devices_of_crowd: CheapSshd | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    note = Notes(SEED)
    with capsys.disabled():  # So that a run that was killed can be played again, too.
        note(f"\nmake torture SECONDS={SECONDS:.0f} SEED={SEED}")
    # Behind Sentinels by every other seed.
    make_store = GuardedValkey if SEED % 2 else LoneValkey
    store = make_store(postgres, len(INSTANCES), SESSION_DETACH_TTL_SECS=f"{DETACH_TTL_SECS:g}")
    for number, controller in enumerate(store.cluster.controllers):
        can_be_hidden(controller, number)
    try:
        with store.cluster:
            try:
                history = _torture(store, sshd, device, devices_of_crowd, note)
            finally:
                for name, controller in zip(INSTANCES, store.cluster.controllers, strict=True):
                    (ARTEFACTS / f"torture-{SEED}-{name}.log").write_text(controller.log())
    finally:
        store.close()
    note(
        f"{len(history.faults)} faults, {len(history.shells)} shells, {len(history.connections)} connections,"
        f" {len(history.told)} told of an end, {sum(len(shell.read) for shell in history.shells)} lines typed"
    )
    violations = judge(history)
    for violation in violations:
        note(violation)
        for each in history.recordings:
            if violation.startswith(f"{each.session}:"):
                note(f"    the logs know it as {each.id}")
    assert not violations, f"seed {SEED}: {len(violations)} violations, the first: {violations[0]}"


def _torture(store: Store, sshd: Sshd, device: Device, devices_of_crowd: CheapSshd | None, note: Notes) -> History:
    cluster = store.cluster
    owners, sightings = Owners(sshd.port), Sightings(cluster.database_url)
    lab = cluster.lab(sshd)
    labs = [Lab(lab.api.at(each), lab.device, lab.credential) for each in cluster.controllers]
    nemesis = Nemesis(store, labs, owners.watch)
    crowd = _gather(devices_of_crowd, lab, cluster)
    # A watched user stays away no longer than the session lives.
    typists = [
        Typist(n, labs, f"{SEED}/{n}", away_secs=3 if n < VIEWERS else min(DETACH_TTL_SECS, TTL_SECS) * 2)
        for n in range(SESSIONS)
    ]
    viewers = [
        Watcher(f"viewer of {each.name}", each.session, each.share(), cluster.controllers, f"{SEED}/v{each.name}")
        for each in typists[:VIEWERS]
    ]
    for thread in [owners, sightings, *typists, *viewers]:
        thread.start()
    nemesis.run(plan(SEED, SECONDS, of_instances(DETACH_TTL_SECS, CROWD_SECS), store.kinds), note)
    complaints = _recover(cluster)
    if not complaints:
        _kill_in_the_calm(nemesis, typists, device, owners, note)
    for each in crowd:
        _dismiss(each, owners, cluster, note)
    for viewer in viewers:
        viewer.stop()
    for typist in typists:
        typist.stop()
    for typist in typists[-LEAVERS:] if DETACH_TTL_SECS == SHORT_DETACH_TTL_SECS else []:
        typist.leave()
    with ThreadPoolExecutor(SESSIONS) as pool:
        list(pool.map(Typist.finish, typists))
    named = {
        name: uuid.UUID(each) for user in (*typists, *nemesis.crowds, *crowd) for name, each in user.session_ids.items()
    }
    with contextlib.suppress(AssertionError):  # The judge says which did not end.
        until(lambda: _all_ended(cluster.database_url, [*named.values()]), "the end of all sessions", _END_SECS)
    for each in crowd:
        each.stop()
    owners.stop()
    sightings.stop()
    with contextlib.suppress(AssertionError):  # The judge says what was left behind.
        running = sum(each.is_running for each in cluster.controllers)
        until(lambda: len(cluster.peer_addresses()) == running, "the reaping of the dead", 3 * TTL_SECS)
    _drain(cluster)
    clients = [*typists, *viewers, *crowd, *(window for typist in typists for window in typist.windows)]
    return History(
        shells=(*device.shells(owners), *(shell for each in crowd for shell in each.farewells)),
        connections=tuple(each for client in (*clients, *nemesis.crowds) for each in client.connections),
        crowd=tuple(member for each in crowd for member in each.members),
        recordings=_recordings(cluster.database_url, named, sightings),
        faults=tuple(nemesis.faults),
        told=tuple(each for client in (*typists, *crowd) for each in client.told),
        holds=sightings.holds,
        left_behind=tuple(key for kind in REGISTERED for key in cluster.keys(f"netstacks:{kind}")),
        complaints=(*complaints, *(f"{client.name}: {client.failure!r}" for client in clients if client.failure)),
        ttl_secs=TTL_SECS - HEARTBEAT_SECS,
        detach_ttl_secs=DETACH_TTL_SECS,
    )


def _gather(devices: CheapSshd | None, lab: Lab, cluster: Cluster) -> list[StandingCrowd]:
    """The standing crowd, opened; none without devices for it."""
    if devices is None:
        return []
    crowd = StandingCrowd(lab.api, devices, [each.port for each in cluster.controllers])
    crowd.open()
    return [crowd]


def _dismiss(crowd: StandingCrowd, owners: Owners, cluster: Cluster, note: Notes) -> None:
    """Lets it settle, notes what it has come to, and ends its sessions."""
    began_at = time.monotonic()
    crowd.settle(owners, cluster.database_url)
    ended = sum(each.has_ended for each in crowd.members)
    note(f"standing crowd: {len(crowd.members)}, {ended} ended; settled in {time.monotonic() - began_at:.0f} s")
    note(f"    its attempts in vain: {dict(crowd.tally.reasons)}")
    if crowd.failure is None:
        crowd.say_bye()


def _recover(cluster: Cluster) -> list[str]:
    """Waits until Valkey and the instances are as before; returns the differences."""
    try:
        cluster.gathered(len(cluster.controllers))
        until(lambda: all(each.health().get("status") == "healthy" for each in cluster.controllers), "", _CALM_SECS)
    except AssertionError:
        return [
            f"{name} is not itself again: running: {each.is_running}, health: {each.health()}"
            for name, each in zip(INSTANCES, cluster.controllers, strict=True)
            if each.health().get("status") != "healthy"
        ] or ["the instances did not find each other again in time"]
    time.sleep(CONTACT_SECS)
    return []


def _kill_in_the_calm(nemesis: Nemesis, typists: list[Typist], device: Device, owners: Owners, note: Notes) -> None:
    """The owner of a session whose user is there; and all of its users go on elsewhere."""
    typist = typists[last_victim(SEED, SESSIONS)]
    with contextlib.suppress(AssertionError):
        until(lambda: typist.is_attached, "its user's return", TTL_SECS)
    shells = _newest(device, owners)
    victim = shells[typist.session].owner if typist.session in shells else None
    note(f"in the calm: kill {victim}, the owner of {typist.session}")
    if victim is None:
        return
    theirs = [each.session for each in typists if each.session in shells and shells[each.session].owner == victim]

    def wait() -> None:
        with contextlib.suppress(AssertionError):
            until(lambda: _have_moved(device, owners, shells, theirs), "the moves", 2 * TTL_SECS)

    nemesis.kill_for_good(victim, wait)


def _newest(device: Device, owners: Owners) -> dict[str, Shell]:
    shells = sorted(device.shells(owners), key=lambda each: each.started_at)
    return {each.session: each for each in shells}


def _have_moved(device: Device, owners: Owners, before: dict[str, Shell], sessions: list[str]) -> bool:
    now = _newest(device, owners)
    return all(now[session].id != before[session].id for session in sessions)


def _all_ended(database_url: str, session_ids: list[uuid.UUID]) -> bool:
    with psycopg.connect(database_url) as connection:
        alive = "SELECT FROM sessions WHERE state <> 'ended' AND id = ANY(%s)"
        return connection.execute(alive, (session_ids,)).fetchone() is None


def _recordings(database_url: str, named: dict[str, uuid.UUID], sightings: Sightings) -> tuple[Recording, ...]:
    database = Database(database_url)
    database.open()
    try:
        return tuple(_recording(database, name, session_id, sightings) for name, session_id in named.items())
    finally:
        database.close()


def _recording(database: Database, name: str, session_id: uuid.UUID, sightings: Sightings) -> Recording:
    with database.transaction() as tx:
        row = sessions.find(tx, session_id)
    assert row is not None
    return Recording(
        name,
        str(session_id),
        tuple(storage.chunks(database, session_id)),
        row.state,
        row.end_reason,
        frozenset(sightings.chunks.get(str(session_id), set())),
        row.ended_at.timestamp() if row.ended_at else 0.0,
    )


def _drain(cluster: Cluster) -> None:
    running = [each for each in cluster.controllers if each.is_running]
    for controller in running:
        controller.terminate()
    for controller in running:
        assert controller.process is not None
        controller.process.wait(60)
