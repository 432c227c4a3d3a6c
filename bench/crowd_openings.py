"""Many terminals opened on one instance, then idle: the delay of the next terminal, and their cost."""

import asyncio
import time

from bench.crowd_clients import Crowd
from bench.crowd_figures import Figures, progress
from bench.crowd_lab import Lab
from bench.report import at_most
from tests.processes import cpu_secs, rss_bytes

_SETTLE_SECS, _IDLE_SECS = 3.0, 20.0
_ECHO_MAX_MS = 250
_IDLE_CPU_PERCENT = 5
# The first sessions load code that stays in memory.
_WARM_UP_SESSIONS = 10


def measure(sessions: int, at_once: int, settings: dict[str, str]) -> Figures:
    """Two instances, all terminals on the first of them."""
    with Lab(2, settings) as lab:
        return asyncio.run(_measure(sessions, at_once, lab))


async def _measure(sessions: int, at_once: int, lab: Lab) -> Figures:
    figures = Figures(f"open {sessions}")
    instance, pid = lab.controllers[0], lab.pids[0]
    queries = [lab.query(number) for number in range(1, _WARM_UP_SESSIONS + sessions + 1)]
    async with Crowd([instance.port], lab.access_tokens(sessions)) as crowd:
        await crowd.open(queries[:_WARM_UP_SESSIONS], pages=1, at_once=at_once)
        with lab.watch(instance) as watch:
            rss_before, began_at = rss_bytes(pid), time.monotonic()
            async with progress(lambda: f"open {sessions}: {len(crowd.connected_since(began_at))} opened"):
                await crowd.open(queries[_WARM_UP_SESSIONS:], pages=1, at_once=at_once)
            figures.add("opened", "1/s", sessions / (time.monotonic() - began_at))
            figures.add("refused with 503", "attempts", crowd.tally.refused, at_most(0))
            figures.add("accepted, then closed", "attempts", crowd.tally.closed, at_most(0))
            figures.add("no answer, or another", "attempts", crowd.tally.failed, at_most(0))
            figures.add_sights("while opening", watch.take(), at_most(_ECHO_MAX_MS))
            await asyncio.sleep(_SETTLE_SECS)
            figures.add("memory of a session", "kB", (rss_bytes(pid) - rss_before) / sessions / 1000)
            watch.take()
            await asyncio.sleep(_IDLE_SECS)
            figures.add_sights("when idle", watch.take(), at_most(_ECHO_MAX_MS))
        # The watch's keys and requests are no part of the cost of idle terminals.
        await asyncio.sleep(_SETTLE_SECS)
        figures.add("CPU when idle", "%", await _cpu_percent(pid), at_most(_IDLE_CPU_PERCENT))
        crowd.start_pings()
        figures.add("CPU when idle, with the pings of pages", "%", await _cpu_percent(pid))
        figures.add("silent afterwards", "terminals", await crowd.count_silent(), at_most(0))
    return figures


async def _cpu_percent(pid: int) -> float:
    """The used share of one core, over a while."""
    before = cpu_secs(pid)
    await asyncio.sleep(_IDLE_SECS)
    return (cpu_secs(pid) - before) / _IDLE_SECS * 100
