"""The time until all clients are back: the program's own pace at each instance, then PostgreSQL and the devices.

Arithmetic, of what was measured: no clock runs. PostgreSQL serves in the order of arrival, on so many cores, and
nothing is begun in vain: with time limits and retries it takes longer.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from netstacks.cluster.pacing import Pace, Strain
from netstacks.peer.client import CONNECT_SECS
from netstacks.store.login_slots import SLOTS

# As the admission queue's.
_TICK_SECS, _STEP_SECS = 0.05, 0.5
# An instance ends at so many a second: what an opening costs its one core is all used then.
_OPENING_CPU_SECS = 0.015
# The assumed duration of a log-in at a device, from the first packet to the prompt.
_DEVICE_SECS = 1.5
# As the page's: how long after a failure it tries again, which doubles up to the longest.
_DELAY_SECS, _MAX_DELAY_SECS = 1.0, 15.0
_SOFT_RESET = Strain(0.0, 0)


@dataclass(frozen=True)
class Storm:
    """`lost` of the instances die at once; their clients come back within `spread_secs`, each to some other one."""

    instances: int
    sessions: int
    lost: int
    spread_secs: float
    first_secs: float = 0.5
    """After the loss: how soon clients try for the first time."""

    @property
    def survivors(self) -> int:
        return self.instances - self.lost

    @property
    def clients(self) -> int:
        return self.sessions // self.instances * self.lost

    @property
    def share(self) -> int:
        """The number of lost sessions that one survivor takes over."""
        return max(1, round(self.clients / self.survivors))


@dataclass(frozen=True)
class Ways:
    """The seconds after the loss at which each step has served the last client; and the admissions of each second."""

    admitted_secs: float
    instances_secs: float
    stored_secs: float
    back_secs: float
    waiting: int
    """How many had to wait for their turn at their instance."""
    per_sec: Counter[int]

    @property
    def peak_per_sec(self) -> int:
        return max(self.per_sec.values())


def ways(storm: Storm, *, opening_cpu_secs: float, cores: float, devices: int) -> Ways:
    """`opening_cpu_secs` is what one opening costs PostgreSQL, and `cores` what it has for them."""
    some = random.Random(1)
    arrivals: list[list[float]] = [[] for _ in range(storm.survivors)]
    for _ in range(storm.clients):
        some.choice(arrivals).append(storm.first_secs + some.uniform(0, storm.spread_secs))
    admitted: list[float] = []
    begun: list[float] = []
    for each in arrivals:
        here = list(_admitted(sorted(each)))
        admitted += here
        begun += _served(here, 1, [_OPENING_CPU_SECS] * len(here))
    begun.sort()
    # As one server that is so many times as fast: what is short of a core's worth of work is soon over.
    stored = _served(begun, 1, [opening_cpu_secs / cores] * len(begun))
    back = _logged_in(stored, devices, some)
    on_time = Counter(int(at) for at in admitted)
    came = [at for each in arrivals for at in sorted(each)]
    waiting = sum(at - arrived > _TICK_SECS for at, arrived in zip(admitted, came, strict=True))
    return Ways(max(admitted), max(begun), max(stored), max(back), waiting, on_time)


def attempts(first_secs: float, until_secs: float) -> list[float]:
    """When a client tries whose session's owner is silent: each time it is dialled in vain; the last one succeeds."""
    tries, delay_secs = [first_secs], _DELAY_SECS
    while tries[-1] < until_secs:
        tries.append(tries[-1] + CONNECT_SECS + delay_secs)
        delay_secs = min(2 * delay_secs, _MAX_DELAY_SECS)
    return tries


def _admitted(arrivals: list[float]) -> Iterator[float]:
    """When each of those that come to one instance is let in: in their order, at a pace that nothing slows down."""
    pace, waiting, came = Pace(0.0), 0, 0
    let_in = now = 0.0
    step_at = _STEP_SECS
    while let_in < len(arrivals):
        if not waiting:
            now = max(now, arrivals[came])
        while came < len(arrivals) and arrivals[came] <= now:
            came += 1
            waiting += 1
        while waiting and pace.take(now):
            waiting -= 1
            let_in += 1
            yield now
        now += _TICK_SECS
        if now >= step_at:
            step_at = now + _STEP_SECS
            if waiting:
                pace.adapt(_SOFT_RESET, is_wanted=True)


def _served(arrivals: list[float], servers: int, secs: list[float]) -> list[float]:
    """When each is done, first come first served; `arrivals` are in order."""
    free = [0.0] * servers
    done = []
    for at, takes in zip(arrivals, secs, strict=True):
        end = max(at, heapq.heappop(free)) + takes
        heapq.heappush(free, end)
        done.append(end)
    return done


def _logged_in(arrivals: list[float], devices: int, some: random.Random) -> list[float]:
    """Each at one of the devices, of which each takes so many log-ins at once."""
    by_device: dict[int, list[float]] = {}
    for at in arrivals:
        by_device.setdefault(some.randrange(devices), []).append(at)
    return [end for each in by_device.values() for end in _served(each, SLOTS, [_DEVICE_SECS] * len(each))]
