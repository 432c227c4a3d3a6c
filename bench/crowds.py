"""Hundreds and thousands of terminals: each figure beside its target.

    python -m bench.crowds                                         all scenarios, about 15 minutes
    python -m bench.crowds --scenario kill --sessions 300 1000     one scenario, with one size or several
    python -m bench.crowds --scenario kill --sessions 5000 --standbys 2
    python -m bench.crowds --scenario drain --setting DRAIN_TIMEOUT_SECS=60

kill: the owner of all sessions is killed. drain: it gets SIGTERM. Either way all clients come back to the standbys,
each attempt to any of them. Half of them (`--pages`) are pages, which speak offsets and keep their place in the
admission queue; the others do neither, as the Terminal client. All pause from 0.5 to 15 s between attempts.
open: all terminals on one instance, then idle.
recording: one device prints so many MB (`--megabytes`).
start: one instance, until it is healthy.

Each scenario has a cluster of its own, with a PostgreSQL that waits for its disk, a Valkey, and a thousand devices in
one process. Clients and devices share the machine with what is measured, so that values depend on the machine; on a
busy one they mean little. A process of its own looks at the standby's health and types in a terminal there.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench import crowd_openings, crowd_recording, crowd_starts
from bench.crowd_figures import Figures, table
from bench.crowd_storms import Storm

_STORM_SIZES = {"kill": (300, 1000, 3000), "drain": (1000,)}
_OPEN_SIZES = (5000,)
_RECORDING_MB = (100,)
_STARTS = 3
_SCENARIOS = ("kill", "drain", "open", "recording", "start")


def _chosen(arguments: argparse.Namespace) -> Iterator[Callable[[], Figures]]:
    settings = dict(arguments.setting)
    for scenario in arguments.scenario or _SCENARIOS:
        match scenario:
            case "kill" | "drain":
                for sessions in arguments.sessions or _STORM_SIZES[scenario]:
                    storm = Storm(sessions, arguments.standbys, arguments.pages, arguments.at_once, settings)
                    yield storm.kill if scenario == "kill" else storm.drain
            case "open":
                for sessions in arguments.sessions or _OPEN_SIZES:
                    yield partial(crowd_openings.measure, sessions, arguments.at_once, settings)
            case "recording":
                for megabytes in arguments.megabytes or _RECORDING_MB:
                    yield partial(crowd_recording.measure, megabytes, settings)
            case "start":
                yield partial(crowd_starts.measure, _STARTS, settings)


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r}: it must be NAME=VALUE")
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", choices=_SCENARIOS, help="several times for several")
    parser.add_argument("--sessions", type=int, nargs="+", help="sizes of kill, drain and open")
    parser.add_argument("--megabytes", type=int, nargs="+", help="sizes of recording")
    parser.add_argument("--standbys", type=int, default=1, help="instances beside the one that is lost: %(default)s")
    parser.add_argument("--pages", type=float, default=0.5, help="share of clients that are pages: %(default)s")
    parser.add_argument("--at-once", type=int, default=16, help="terminals that are opened at a time: %(default)s")
    parser.add_argument("--setting", type=_setting, action="append", default=[], help="NAME=VALUE for all instances")
    arguments = parser.parse_args()
    # A client, a device and an instance need a descriptor for each terminal.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began_at = time.monotonic()
    measured: list[Figures] = []
    try:
        # One by one: the figures are shown even when a later scenario fails.
        measured.extend(measure() for measure in _chosen(arguments))
    finally:
        if measured:
            print(f"\n{table(measured)}")
        print(f"{time.monotonic() - began_at:.0f} s; load of this machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
