"""`python -m bench.recordings`: what it costs to record 100 MB of router output, on a PostgreSQL of its own with fsync.

The CPU seconds of PostgreSQL's processes and of this one, and the bytes of disk that a byte of output takes. Beside the
flood a user types: how many chunks that makes, and what a key costs the recording.
"""

import argparse
import random
import time

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import psutil
import psycopg

from bench.report import Results, Row, at_most
from netstacks import greenlets
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Recording
from netstacks.store.pool import Database
from netstacks.store.schema import migrate
from tests.postgres import Postgres
from tests.rows import make_session

_SIZE = 100_000_000
_PIECE = 32 * 1024
# About 30 MB/s: a device that prints as fast as a terminal takes it.
_REST_SECS = 0.001
_KEY_SECS = 0.1
_KEYS = 20_000
ROWS = (
    Row("PostgreSQL's CPU", "s", (at_most(0.5),)),
    Row("this process's CPU", "s"),
    Row("disk for a byte of output", "bytes", (at_most(0.3),)),
    Row("chunks of a typist beside it, a second", "", (at_most(2.5),)),
    Row("a key and its echo, in the recording", "us"),
)


def _config(rand: random.Random) -> str:
    port, vlan = rand.randrange(1, 49), rand.randrange(1, 4000)
    return (
        f"interface GigabitEthernet{rand.randrange(4)}/0/{port}\r\n description uplink to access-{rand.randrange(900)}"
        f", rack {rand.randrange(40)}\r\n switchport trunk allowed vlan {vlan}-{vlan + rand.randrange(60)}\r\n"
        f" ip address 10.{rand.randrange(256)}.{rand.randrange(256)}.1 255.255.255.0\r\n"
        f" service-policy output QOS-{rand.choice('ABCD')}\r\n no shutdown\r\n!\r\n"
    )


def _route(rand: random.Random) -> str:
    kind = f"{rand.choice('OBSC')}{rand.choice(('   ', ' E2', ' IA'))}"
    prefix = f"10.{rand.randrange(256)}.{rand.randrange(256)}.0/{rand.randrange(16, 31)}"
    hop = f"172.16.{rand.randrange(256)}.{rand.randrange(1, 255)}"
    age = f"{rand.randrange(9)}d{rand.randrange(24):02}h"
    port = f"TenGigabitEthernet{rand.randrange(2)}/{rand.randrange(4)}/{rand.randrange(16)}"
    return f"{kind}    {prefix} [{rand.choice((110, 200, 1))}/{rand.randrange(1, 3000)}] via {hop}, {age}, {port}\r\n"


def _log(rand: random.Random) -> str:
    what = (
        f"%LINEPROTO-5-UPDOWN: Line protocol on Interface Gi0/{rand.randrange(48)}, changed state to up",
        f"%BGP-5-ADJCHANGE: neighbor 192.0.2.{rand.randrange(255)} Down BGP Notification sent",
        f"%SEC-6-IPACCESSLOGP: list 102 denied tcp 198.51.100.{rand.randrange(255)}({rand.randrange(65535)}) -> "
        f"203.0.113.{rand.randrange(255)}({rand.choice((22, 23, 80, 443))}), {rand.randrange(1, 90)} packets",
    )
    clock = f"{rand.randrange(24):02}:{rand.randrange(60):02}:{rand.randrange(60):02}.{rand.randrange(1000):03}"
    return f"*Nov {rand.randrange(1, 31):2} {clock}: {rand.choice(what)}\r\n"


def _pieces() -> list[bytes]:
    """The output of routers; each piece is of one command."""
    rand = random.Random(1)
    outputs = ("".join(kind(rand) for _ in range(60_000)).encode() for kind in (_config, _route, _log))
    return [output[at : at + _PIECE] for output in outputs for at in range(0, len(output), _PIECE)]


def _server(postgres: Postgres) -> psutil.Process:
    with psycopg.connect(postgres.url("postgres")) as connection:
        server = psutil.Process(connection.info.backend_pid).parent()
    assert server is not None
    return server


def _cpu_secs(server: psutil.Process) -> float:
    """The processor seconds of the server and its processes, ended ones included."""
    times = server.cpu_times()
    running = (each.cpu_times() for each in server.children())
    return sum((each.user + each.system for each in running), times.children_user + times.children_system) + (
        times.user + times.system
    )


def _size(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_total_relation_size('recording_chunks')").fetchone()
    assert row is not None
    return int(row[0])


def _begin(database: Database, recorder: Recorder) -> Recording:
    return Recording(recorder, make_session(database), 1, on_room=lambda: None, on_fenced=lambda: None)


def _flood(recording: Recording, pieces: list[bytes]) -> None:
    rand = random.Random(2)
    sent = 0
    while sent < _SIZE:
        piece = rand.choice(pieces)
        recording.output(piece)
        sent += len(piece)
        greenlets.sleep(_REST_SECS)
        while not recording.has_room:
            greenlets.sleep(_REST_SECS)


def _type(recording: Recording, flood: greenlets.Greenlet) -> None:
    while not flood.ready():
        recording.input(b"x")
        recording.output(b"x")
        greenlets.sleep(_KEY_SECS)


def _chunks(url: str, recording: Recording) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM recording_chunks WHERE session_id = %s", [recording.session_id]
        ).fetchone()
    assert row is not None
    return int(row[0])


def _key_us(recording: Recording) -> float:
    began_at = time.process_time()
    for _ in range(_KEYS):
        recording.input(b"x")
        recording.output(b"x")
    return (time.process_time() - began_at) / _KEYS * 1e6


def measure(rounds: int) -> Results:
    pieces = _pieces()
    results = Results("netstacks")
    postgres = Postgres(("-c", "fsync=on")).start()
    try:
        server = _server(postgres)
        for _ in range(rounds):
            url = postgres.create_database()
            database = Database(url)
            database.open()
            migrate(database)
            recorder = Recorder(database)
            recorder.start()
            recording, typist = _begin(database, recorder), _begin(database, recorder)
            empty, began_at = _size(url), time.monotonic()
            theirs, ours = _cpu_secs(server), time.process_time()
            flood = greenlets.spawn("flood", _flood, recording, pieces)
            _type(typist, flood)
            assert recorder.flush(60)
            results.add(ROWS[0].name, "netstacks", _cpu_secs(server) - theirs)
            results.add(ROWS[1].name, "netstacks", time.process_time() - ours)
            results.add(ROWS[2].name, "netstacks", (_size(url) - empty) / recording.stored_offset)
            results.add(ROWS[3].name, "netstacks", _chunks(url, typist) / (time.monotonic() - began_at))
            results.add(ROWS[4].name, "netstacks", _key_us(typist))
            assert recorder.flush(60)
            recorder.stop()
            database.close()
    finally:
        postgres.destroy()
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    print(measure(parser.parse_args().rounds).table(ROWS))
