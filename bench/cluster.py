"""`make bench`: what a cluster costs: the hop to an owner, the registry, and the time until a lost terminal is back.

The hop runs side by side with nginx and HAProxy in the same place; ratios mean something on any machine, absolute
values do not.
"""

import argparse
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import hops, registry
from bench.cores import CLIENT_CORE, pin
from bench.hops import Hop
from bench.origin import frame, origin
from bench.report import Results, Row, at_least, at_most
from tests.acceptance.cluster import Cluster, come_back
from tests.acceptance.faults import freeze_in_transaction
from tests.controller import Terminal, until
from tests.fast_websocket import FastWebSocket
from tests.postgres import Postgres
from tests.sshd import Sshd

KIB = 1024
SIZES = (1 * KIB, 16 * KIB, 64 * KIB)
HOP_ROWS = (
    Row("added latency p50", "us", (at_most(1.4, "nginx"),)),
    Row("added latency p99", "us"),
    *(Row(f"throughput, messages of {size // KIB} KiB", "MB/s", (at_least(1.0, "nginx"),)) for size in SIZES),
    Row("CPU, messages of 1 KiB", "s/GB", (at_most(1.3, "nginx"),)),
    *(Row(f"CPU, messages of {size // KIB} KiB", "s/GB", (at_most(0.8, "nginx"),)) for size in SIZES[1:]),
)
HEARTBEAT_SECS, TTL_SECS = 5, 30
LOST_ROWS = (
    Row("a terminal opened, log-in included", "s"),
    Row("back after SIGKILL, beyond that, worst", "s", (at_most(1.0),), worst=True),
    Row("back after SIGSTOP, beyond that, worst", "s", (at_most(TTL_SECS + HEARTBEAT_SECS),), worst=True),
    Row("the same in a transaction, worst", "s", (at_most(TTL_SECS + HEARTBEAT_SECS),), worst=True),
)


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    keys: int
    megabytes: int
    sessions: int
    reaped: int
    kills: int
    freezes: int


FULL = Plan(rounds=5, keys=2000, megabytes=400, sessions=100_000, reaped=10_000, kills=5, freezes=5)
QUICK = Plan(rounds=1, keys=200, megabytes=40, sessions=5_000, reaped=1_000, kills=1, freezes=0)


def measure_hops(plan: Plan) -> Results:
    """Latency and throughput of each hop in turn, as many rounds as planned."""
    results = Results("netstacks", "nginx", "haproxy", "direct")
    pin(os.getpid(), CLIENT_CORE)
    with ExitStack() as resources:
        port = resources.enter_context(origin())
        ways = [resources.enter_context(way(port)) for way in (hops.direct, hops.netstacks, hops.nginx, hops.haproxy)]
        for _ in range(plan.rounds):
            base = _percentiles(_round_trips(ways[0], plan.keys))
            for hop in ways[1:]:
                p50, p99 = _percentiles(_round_trips(hop, plan.keys))
                results.add("added latency p50", hop.name, (p50 - base[0]) * 1e6)
                results.add("added latency p99", hop.name, (p99 - base[1]) * 1e6)
            for size in SIZES:
                for hop in ways:
                    _transfer(results, hop, size, plan.megabytes * 1_000_000 // size)
    return results


def _round_trips(hop: Hop, keys: int) -> list[float]:
    client = FastWebSocket(hop.port, "/")
    took = []
    for _ in range(keys):
        started_at = time.perf_counter()
        client.send(b"\x01x")
        while not client.receive():
            pass
        took.append(time.perf_counter() - started_at)
        time.sleep(0.0005)
    client.close()
    return took[keys // 10 :]


def _percentiles(latencies: list[float]) -> tuple[float, float]:
    found = statistics.quantiles(latencies, n=100)
    return found[49], found[98]


def _transfer(results: Results, hop: Hop, size: int, count: int) -> None:
    client = FastWebSocket(hop.port, f"/?size={size}&count={count}")
    plain = socket.socket(fileno=os.dup(client.fileno()))
    plain.setblocking(True)
    buffer = bytearray(1024 * KIB)
    left = len(frame(size)) * count
    gigabytes = left / 1e9
    cpu_before, started_at = hop.cpu_secs(), time.monotonic()
    client.send(b"go")
    while left:
        received = plain.recv_into(buffer)
        if not received:
            raise RuntimeError(f"{hop.name} lost {left} bytes")
        left -= received
    what = f"messages of {size // KIB} KiB"
    results.add(f"throughput, {what}", hop.name, gigabytes * 1000 / (time.monotonic() - started_at))
    if hop.pid:
        results.add(f"CPU, {what}", hop.name, (hop.cpu_secs() - cpu_before) / gigabytes)
    plain.close()
    client.close()


def measure_losses(plan: Plan) -> Results:
    """From the loss of an owner to the first byte of the new one, for a client that retries every 250 ms."""
    results = Results("netstacks")
    postgres = Postgres().start()
    try:
        with Sshd() as sshd:
            for _ in range(plan.kills):
                with _cluster(postgres) as cluster:
                    _lose(results, cluster, sshd, "back after SIGKILL, beyond that, worst", _kill)
            for number in range(plan.freezes):
                # Every other time in the middle of a transaction, whose locks a frozen process keeps.
                name, freeze = _FREEZES[number % 2]
                with _cluster(postgres) as cluster:
                    _lose(results, cluster, sshd, name, freeze)
    finally:
        postgres.destroy()
    return results


@contextmanager
def _cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(
        postgres, 2, HA_HEARTBEAT_INTERVAL_SECS=str(HEARTBEAT_SECS), HA_STALE_INSTANCE_TTL_SECS=str(TTL_SECS)
    ) as cluster:
        yield cluster


def _kill(cluster: Cluster, _terminal: Terminal) -> None:
    cluster.controllers[0].kill()


def _freeze(cluster: Cluster, _terminal: Terminal) -> None:
    cluster.controllers[0].freeze()


def _freeze_in_transaction(cluster: Cluster, terminal: Terminal) -> None:
    terminal.type("yes 0123456789012345678901234567890123456789\r")
    until(lambda: len(terminal.output) > 100_000, "a flood")
    owner = min(cluster.peer_addresses(), key=lambda each: cluster.pid(each) != cluster.controllers[0].worker_pids()[0])
    freeze_in_transaction(cluster.controllers[0], cluster.database_url, owner)


_FREEZES: tuple[tuple[str, Callable[[Cluster, Terminal], None]], ...] = (
    ("back after SIGSTOP, beyond that, worst", _freeze),
    ("the same in a transaction, worst", _freeze_in_transaction),
)


def _lose(results: Results, cluster: Cluster, sshd: Sshd, name: str, lose: Callable[[Cluster, Terminal], None]) -> None:
    lab = cluster.lab(sshd)
    _, other = cluster.controllers
    started_at = time.monotonic()
    terminal = lab.open()
    _first_output(terminal)
    login_secs = time.monotonic() - started_at
    lose(cluster, terminal)
    lost_at = time.monotonic()
    again = come_back(terminal, other, timeout_secs=90)
    _first_output(again)
    results.add("a terminal opened, log-in included", "netstacks", login_secs)
    results.add(name, "netstacks", time.monotonic() - lost_at - login_secs)


def _first_output(terminal: Terminal) -> None:
    until(lambda: terminal.output, "the first output")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="to see that it works; its ratios mean little")
    plan = QUICK if parser.parse_args().quick else FULL
    began_at = time.monotonic()
    print(measure_hops(plan).table(HOP_ROWS), end="\n\n", flush=True)
    print(registry.measure(plan.sessions, plan.reaped).table(registry.ROWS), end="\n\n", flush=True)
    print(measure_losses(plan).table(LOST_ROWS))
    print(f"\n{time.monotonic() - began_at:.0f} s; load of this machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
