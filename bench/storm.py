"""A rack of instances dies at once: what PostgreSQL and Valkey see in the minute after, and what limits it.

Measured: each statement and script of the program in a real server, on this machine. Arithmetic: how often, and when.
"""

from collections.abc import Iterator
from dataclasses import replace

from bench import storm_lookout, storm_share, storm_valkey
from bench.storm_database import SESSIONS_PER_DEVICE, full
from bench.storm_lookout import PAGE_SESSIONS, Lookout
from bench.storm_share import Takeover
from bench.storm_timeline import Storm, attempts, ways
from bench.storm_valkey import Seen
from netstacks.instance.reconciler import INTERVAL_SECS
from netstacks.store.witness import INTERVAL_SECS as SPEAK_SECS

LARGE = Storm(instances=1_000, sessions=1_000_000, lost=20, spread_secs=0.1)
SMALL = Storm(instances=50, sessions=10_000, lost=1, spread_secs=0.1)
# As the page's, from its first attempt on, and of clients that have come at different times.
_SPREADS_SECS = (0.1, 15.0)
_CORES = (8, 16, 32, 64)
_HEARTBEAT_SECS, _TTL_SECS = 5, 30
_MINUTE_SECS = 60
# An owner's page of sessions, then: owners, the end of connections, orphans to mark, orphans to end.
_OTHER_TRANSACTIONS = 4


def run(storm: Storm) -> None:
    """Prints each figure as soon as it is measured."""
    print(
        f"{storm.instances:,} instances, {storm.sessions:,} sessions; {storm.lost} die, {storm.clients:,} clients come"
        f" back to {storm.survivors:,} others, about {storm.share} to each\n"
    )
    takeover = storm_share.measure(storm.share, storm.instances // storm.lost)
    _show("PostgreSQL, one session taken over (measured)", _takeover_lines(takeover))
    seen = storm_valkey.measure(storm)
    _show("Valkey, all of them taken over (measured)", _valkey_lines(storm, seen))
    with full(storm.instances, storm.sessions) as database:
        lookout = storm_lookout.measure(database, storm.lost)
    _show(
        "PostgreSQL, what all look for every few seconds (measured once, times the instances)", _looks(storm, lookout)
    )
    _show("PostgreSQL, in the first minute (arithmetic)", _minute(storm, takeover, lookout))
    _show("Seconds until the last one is there (arithmetic; nothing in vain, no look-outs)", _returns(storm, takeover))
    _show("If the hosts are silent instead of refusing (arithmetic)", _silent(storm, seen))


def _show(title: str, lines: Iterator[tuple[str, str]]) -> None:
    print(title)
    for name, value in lines:
        print(f"  {name:<70}{value:>34}")
    print(flush=True)


def _takeover_lines(cost: Takeover) -> Iterator[tuple[str, str]]:
    yield "transactions", f"{cost.transactions:.1f}"
    yield "statements, BEGIN and COMMIT included", f"{cost.statements:.1f}"
    yield "WAL, kB", f"{cost.wal_bytes / 1e3:.1f}"
    yield "CPU over new connections, ms", f"{cost.cold_cpu_secs * 1e3:.1f}"
    yield "CPU over connections that were used before, ms", f"{cost.warm_cpu_secs * 1e3:.1f}"


def _valkey_lines(storm: Storm, seen: Seen) -> Iterator[tuple[str, str]]:
    beats = storm.survivors / _HEARTBEAT_SECS
    yield "commands of the storm", f"{seen.commands:,}"
    yield "CPU of the storm, s", f"{seen.cpu_secs:.1f}"
    yield "a heartbeat and its snapshot, ms", f"{seen.beat_cpu_secs * 1e3:.2f}"
    yield "heartbeats of all, % of a core (arithmetic)", f"{beats * seen.beat_cpu_secs * 100:.0f}"
    # The reconciler beats anew for every owner that is gone, as long as a row names it.
    again = beats * storm.lost * seen.beat_cpu_secs
    yield "reconcilers' heartbeats while rows name the dead, % (arithmetic)", f"{again * 100:,.0f}"


def _looks(storm: Storm, lookout: Lookout) -> Iterator[tuple[str, str]]:
    looks = storm.survivors / INTERVAL_SECS
    for name, cost in (("its own sessions", lookout.own), ("owners of sessions", lookout.owners)):
        yield f"{name}: CPU of one look, ms", f"{cost.cpu_secs * 1e3:.1f}"
        yield f"{name}: cores for all looks (arithmetic)", f"{looks * cost.cpu_secs:.1f}"
    yield "marking the orphans: CPU of the first look after the loss, s", f"{lookout.mark.cpu_secs:.2f}"
    yield "marking the orphans: time of it, s", f"{lookout.mark.wall_secs:.2f}"
    yield "marking the orphans: WAL of it, MB", f"{lookout.mark.wal_bytes / 1e6:.0f}"
    yield "looking for orphans again: CPU, ms", f"{lookout.mark_again.cpu_secs * 1e3:.1f}"
    yield "a look at a witness beside 200 others: CPU, ms", f"{lookout.witness.cpu_secs * 1e3:.2f}"


def _minute(storm: Storm, takeover: Takeover, lookout: Lookout) -> Iterator[tuple[str, str]]:
    admitted = ways(storm, opening_cpu_secs=takeover.cold_cpu_secs, cores=_CORES[-1], devices=_devices(storm))
    pages = -(-storm.sessions // storm.instances // PAGE_SESSIONS)
    looking = storm.survivors * ((pages + _OTHER_TRANSACTIONS) / INTERVAL_SECS + 1 / SPEAK_SECS)
    cpu_secs = storm.clients * takeover.cold_cpu_secs
    yield "let in by all instances in the busiest second, when all come at once", f"{admitted.peak_per_sec:,}"
    yield "of them had to wait for their instance", f"{admitted.waiting:,}"
    yield "transactions of the storm", f"{storm.clients * takeover.transactions:,.0f}"
    yield "statements of the storm", f"{storm.clients * takeover.statements:,.0f}"
    yield (
        "transactions a second, on the mean of the minute",
        f"{storm.clients * takeover.transactions / _MINUTE_SECS:,.0f}",
    )
    yield "statements a second, on the mean of the minute", f"{storm.clients * takeover.statements / _MINUTE_SECS:,.0f}"
    yield "transactions a second of look-outs and witnesses beside it", f"{looking:,.0f}"
    yield "CPU of the storm, s", f"{cpu_secs:,.0f}"
    yield "cores of the storm, on the mean of the minute", f"{cpu_secs / _MINUTE_SECS:.1f}"
    wal_bytes = storm.clients * takeover.wal_bytes + lookout.mark.wal_bytes
    yield "WAL of the storm, at most, MB", f"{wal_bytes / 1e6:,.0f}"
    yield "connections while it lasts (13 of each instance)", f"{13 * storm.survivors:,}"


def _returns(storm: Storm, takeover: Takeover) -> Iterator[tuple[str, str]]:
    yield "", "let in   begun  stored    back"
    for spread_secs in _SPREADS_SECS:
        for cores in _CORES:
            found = ways(
                replace(storm, spread_secs=spread_secs),
                opening_cpu_secs=takeover.cold_cpu_secs,
                cores=cores,
                devices=_devices(storm),
            )
            steps = (found.admitted_secs, found.instances_secs, found.stored_secs, found.back_secs)
            yield (
                f"they come within {spread_secs:g} s, PostgreSQL has {cores} cores",
                "".join(f"{at:8.1f}" for at in steps),
            )


def _silent(storm: Storm, seen: Seen) -> Iterator[tuple[str, str]]:
    """The hosts have gone with their instances: nothing refuses, and only time tells."""
    tries = attempts(storm.first_secs, _TTL_SECS)
    vain = len(tries) - 1
    yield "attempts of each client before the owner counts as dead", f"{vain}"
    yield "the attempt that succeeds comes after, s", f"{tries[-1]:.0f} to {tries[-1] * 1.2:.0f}"
    yield "transactions of all that come in vain", f"{3 * vain * storm.clients:,}"
    # Those of one instance that look at the same time share a heartbeat.
    least, most = (each * vain * seen.beat_cpu_secs / _TTL_SECS for each in (storm.survivors, storm.clients))
    yield "cores of Valkey for their heartbeats, shared or not", f"{least:.1f} to {most:.0f}"


def _devices(storm: Storm) -> int:
    return max(1, storm.sessions // SESSIONS_PER_DEVICE)
