"""The cost of a recording in PostgreSQL: processor time, and disk per byte that the device prints."""

import math
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import psycopg

from bench import stacks
from bench.crowd_figures import Figures
from bench.crowd_lab import DURABLE, postmaster_pid, tree_cpu_secs
from bench.report import at_most
from bench.typist import Typist
from tests.controller import until
from tests.postgres import Postgres
from tests.sshd import Sshd

_CPU_SECS_PER_100_MB, _DISK_BYTES_PER_BYTE = 0.5, 0.3
_TEXT_BYTES = 4_000_000
_CHUNK_TABLES = (
    "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'recording%'"
)


def measure(megabytes: int, settings: dict[str, str]) -> Figures:
    """Measures one terminal on one instance, whose device prints that much text as fast as it can."""
    figures = Figures(f"recording {megabytes} MB")
    postgres = Postgres(DURABLE).start()
    try:
        url = postgres.create_database()
        with _text_file(megabytes) as path, Sshd() as sshd, stacks.netstacks(url, sshd, **settings) as ours:
            pid = postmaster_pid(url)
            with psycopg.connect(url, autocommit=True) as db:
                disk_before, log_before = _disk_bytes(db), _log_bytes(db)
                cpu_before, began_at = tree_cpu_secs(pid), time.monotonic()
                typist = Typist()
                session_id = typist.open(ours.endpoint)
                output_bytes = typist.transfer(path).output_bytes
                ended = "SELECT true FROM sessions WHERE id = %s AND state = 'ended'"
                until(lambda: db.execute(ended, (session_id,)).fetchone(), "the end of the recording", 300)
                took_secs, cpu_secs = time.monotonic() - began_at, tree_cpu_secs(pid) - cpu_before
                log_bytes, disk_bytes = _log_bytes(db) - log_before, _disk_bytes(db) - disk_before
    finally:
        postgres.destroy()
    scale = 100e6 / output_bytes
    figures.add("recorded", "MB/s", output_bytes / 1e6 / took_secs)
    figures.add("CPU of PostgreSQL per 100 MB", "s", cpu_secs * scale, at_most(_CPU_SECS_PER_100_MB))
    figures.add("disk per byte", "bytes", disk_bytes / output_bytes, at_most(_DISK_BYTES_PER_BYTE))
    figures.add("write-ahead log per byte", "bytes", log_bytes / output_bytes)
    return figures


def _disk_bytes(db: psycopg.Connection) -> int:
    """The size of all recording tables with their indexes, after a vacuum."""
    db.execute("VACUUM")
    db.execute("CHECKPOINT")
    row = db.execute(_CHUNK_TABLES).fetchone()
    assert row is not None
    return int(row[0])


def _log_bytes(db: psycopg.Connection) -> int:
    """The bytes written to the write-ahead log so far."""
    row = db.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _text_file(megabytes: int) -> Iterator[str]:
    """A file that the device's users may read: 4 MB of what routers print, as often as it takes.

    No compression of chunks looks as far back as the repetition.
    """
    some = random.Random(1)
    text = "".join(some.choice(_PAGES)(some) for _ in range(10_000))[:_TEXT_BYTES]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(repeat(text, math.ceil(megabytes * 1_000_000 / len(text))))
        file.flush()
        Path(file.name).chmod(0o644)
        yield file.name


def _address(some: random.Random) -> str:
    return f"10.{some.randrange(256)}.{some.randrange(256)}.{some.randrange(256)}"


def _interface(some: random.Random) -> str:
    kind = some.choice(("GigabitEthernet", "TenGigabitEthernet", "HundredGigE"))
    return f"{kind}{some.randrange(4)}/{some.randrange(8)}/{some.randrange(48)}"


def _configuration(some: random.Random) -> str:
    """An interface as `show running-config` prints it."""
    vlan = some.randrange(2, 4094)
    return (
        f"interface {_interface(some)}\n description to {some.choice(('core', 'edge', 'access'))}-{vlan % 97} port "
        f"{some.randrange(48)}\n ip address {_address(some)} 255.255.255.0\n ip access-group ACL-{vlan} in\n"
        f" ip ospf cost {some.randrange(1, 1000)}\n service-policy output WAN-{some.randrange(10)}\n"
        f" encapsulation dot1Q {vlan}\n no shutdown\n!\n"
    )


def _counters(some: random.Random) -> str:
    """An interface as `show interfaces` prints it."""
    mac = ".".join(f"{some.randrange(65536):04x}" for _ in range(3))
    return (
        f"{_interface(some)} is up, line protocol is up\n  Hardware is Ethernet, address is {mac} (bia {mac})\n"
        f"  Internet address is {_address(some)}/24\n  MTU 1500 bytes, BW 1000000 Kbit/sec, DLY 10 usec,\n"
        f"     reliability 255/255, txload {some.randrange(255)}/255, rxload {some.randrange(255)}/255\n"
        f"  5 minute input rate {some.randrange(10**8)} bits/sec, {some.randrange(10**5)} packets/sec\n"
        f"     {some.randrange(10**10)} packets input, {some.randrange(10**13)} bytes, 0 no buffer\n"
        f"     {some.randrange(100)} input errors, {some.randrange(100)} CRC, 0 frame, 0 overrun, 0 ignored\n"
        f"     {some.randrange(10**10)} packets output, {some.randrange(10**13)} bytes, 0 underruns\n"
    )


def _log(some: random.Random) -> str:
    """Lines of `show logging`."""
    lines = []
    for _ in range(10):
        time = f"Mar {some.randrange(1, 29):2} {some.randrange(24):02}:{some.randrange(60):02}:{some.randrange(60):02}"
        event = some.choice(
            (
                f"%LINEPROTO-5-UPDOWN: Line protocol on Interface {_interface(some)}, changed state to up",
                f"%OSPF-5-ADJCHG: Process 1, Nbr {_address(some)} on {_interface(some)} from LOADING to FULL",
                f"%SEC-6-IPACCESSLOGP: list 101 denied tcp {_address(some)}({some.randrange(65536)}) -> "
                f"{_address(some)}(22), 1 packet",
                f"%SYS-5-CONFIG_I: Configured from console by admin on vty0 ({_address(some)})",
            )
        )
        lines.append(f"{time}.{some.randrange(1000):03}: {event}\n")
    return "".join(lines)


def _routes(some: random.Random) -> str:
    """Lines of `show ip route`."""
    return "".join(
        f"O E2     {_address(some)}/24 [110/{some.randrange(1000)}] via {_address(some)}, "
        f"{some.randrange(10)}w{some.randrange(7)}d, {_interface(some)}\n"
        for _ in range(10)
    )


_PAGES = (_configuration, _counters, _log, _routes)
