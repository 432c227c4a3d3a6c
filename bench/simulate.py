"""`python -m bench.simulate`: how far one Valkey carries a cluster: up to 1,000 instances and 1,000,000 sessions.

The real scripts run in a real Valkey with so many keys; what one core of it is used for, is added up from what each
command has cost there. docs/scaling.md says what follows. `--storm` simulates the loss of a rack.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

from bench import storm
from bench.registry import Cost, Populated, populated

SIZES = ((10, 10_000), (100, 100_000), (1_000, 1_000_000))
QUICK_SIZES = ((10, 1_000), (30, 3_000))
HEARTBEAT_SECS = 5
# A working day of an engineer's terminal: opened, detached and attached a few times, closed.
CHANGES_PER_SESSION_PER_HOUR = 4
_CALLS = 500


@dataclass(frozen=True)
class Size:
    """The cost of a cluster of one size at its Valkey, in seconds of the server's one core."""

    instances: int
    sessions: int
    bytes_per_session: float
    memory_bytes: int
    heartbeat: Cost
    snapshot: Cost
    publish: Cost
    lookup: Cost
    reap: Cost

    def commands_per_sec(self) -> float:
        """Each beats, looks around and looks for stale ones; sessions change, and every change is looked up once."""
        return 3 * self.instances / HEARTBEAT_SECS + 2 * self._changes_per_sec()

    def busy_share(self) -> float:
        """The used share of the server's core."""
        beat = _each(self.heartbeat) + _each(self.snapshot)
        change = _each(self.publish) + _each(self.lookup)
        return self.instances / HEARTBEAT_SECS * beat + self._changes_per_sec() * change

    def _changes_per_sec(self) -> float:
        return self.sessions * CHANGES_PER_SESSION_PER_HOUR / 3600


def _each(cost: Cost) -> float:
    return cost.secs / cost.calls


def measure(instances: int, sessions: int) -> Size:
    """Fills a Valkey and asks it what each operation costs then."""
    with populated() as full:
        full.add_instances(instances)
        before = full.memory_bytes()
        ids = [id for one in full.instances for id in full.add_sessions(one, sessions // instances)]
        memory = full.memory_bytes()
        registry, some = full.registry, random.Random(1)
        return Size(
            instances=instances,
            sessions=sessions,
            bytes_per_session=(memory - before) / sessions,
            memory_bytes=memory,
            heartbeat=full.cost_of(lambda: [registry.heartbeat(some.choice(full.instances).id) for _ in range(_CALLS)]),
            snapshot=full.cost_of(lambda: [registry.snapshot() for _ in range(_CALLS // 10)]),
            publish=full.cost_of(lambda: full.add_sessions(full.instances[0], _CALLS)),
            lookup=full.cost_of(lambda: [registry.session(some.choice(ids)) for _ in range(_CALLS)]),
            reap=full.cost_of(lambda: _reap_one(full)),
        )


def _reap_one(full: Populated) -> None:
    full.server.zadd("netstacks:instances", {full.instances[-1].id: 0})
    if full.registry.reap(3600, by=full.instances[0].id) != [full.instances[-1].id]:
        raise RuntimeError("another instance than the stale one was reaped")


COLUMNS: tuple[tuple[str, Callable[[Size], str]], ...] = (
    ("instances", lambda size: f"{size.instances:,}"),
    ("sessions", lambda size: f"{size.sessions:,}"),
    ("memory, MB", lambda size: f"{size.memory_bytes / 1e6:,.0f}"),
    ("bytes a session", lambda size: f"{size.bytes_per_session:.0f}"),
    ("heartbeat, us", lambda size: f"{_each(size.heartbeat) * 1e6:.0f}"),
    ("snapshot, us", lambda size: f"{_each(size.snapshot) * 1e6:,.0f}"),
    ("publish, us", lambda size: f"{_each(size.publish) * 1e6:.0f}"),
    ("look-up, us", lambda size: f"{_each(size.lookup) * 1e6:.1f}"),
    ("reap one, ms", lambda size: f"{size.reap.secs * 1e3:.1f}"),
    ("longest, ms", lambda size: f"{max(size.reap.longest_secs, size.snapshot.longest_secs) * 1e3:.1f}"),
    ("commands/s", lambda size: f"{size.commands_per_sec():,.0f}"),
    ("core used, %", lambda size: f"{size.busy_share() * 100:.1f}"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--storm", action="store_true", help="the loss of 20 instances of 1,000: some minutes, 3 GB")
    wanted = parser.parse_args()
    if wanted.storm:
        storm.run(storm.SMALL if wanted.quick else storm.LARGE)
        return
    sizes = [measure(*size) for size in (QUICK_SIZES if wanted.quick else SIZES)]
    for name, show in COLUMNS:
        print(f"{name:<16}" + "".join(f"{show(size):>14}" for size in sizes))


if __name__ == "__main__":
    main()
