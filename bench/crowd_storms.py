"""An owner of many sessions goes away, and every client comes back to the other instances at once."""

import asyncio
import math
import time
from dataclasses import dataclass

from bench.crowd_clients import Crowd, Tally
from bench.crowd_figures import Figures, percentile, progress
from bench.crowd_lab import CpuTimes, Lab
from bench.crowd_watch import Watch
from bench.report import Target, at_most

# The target seconds until all are back, by the number of sessions, on one standby; several share the work.
_KILL_BOUNDS = ((400, 16), (1000, 40), (3000, 120), (5000, 200))
_MIN_BOUND_SECS, _DRAIN_BOUND_SECS = 16.0, 45.0
_LOOK_EVERY_SECS = 0.5


@dataclass(frozen=True)
class Storm:
    """One loss of an owner. `pages` is the share of clients that are pages."""

    sessions: int
    standbys: int
    pages: float
    at_once: int
    settings: dict[str, str]

    def kill(self) -> Figures:
        """SIGKILL, as a crash is."""
        bound = next((secs for most, secs in _KILL_BOUNDS if self.sessions <= most), self.sessions / 25)
        return self._run("kill", max(bound / self.standbys, _MIN_BOUND_SECS))

    def drain(self) -> Figures:
        """SIGTERM, as a rolling upgrade sends it."""
        return self._run("drain", _DRAIN_BOUND_SECS)

    def _run(self, kind: str, bound_secs: float) -> Figures:
        name = f"{kind} {self.sessions}" + (f" on {self.standbys} standbys" if self.standbys > 1 else "")
        with Lab(1 + self.standbys, self.settings) as lab, lab.watch(lab.controllers[1]) as watch:
            return asyncio.run(_Run(name, bound_secs, self, lab, watch).measure(is_drain=kind == "drain"))


class _Run:
    def __init__(self, name: str, bound_secs: float, storm: Storm, lab: Lab, watch: Watch) -> None:
        self._name = name
        self._bound_secs = bound_secs
        self._storm = storm
        self._lab = lab
        self._watch = watch
        self._owner, *self._standbys = lab.controllers
        self._figures = Figures(name)

    async def measure(self, *, is_drain: bool) -> Figures:
        storm, lab, owner, figures = self._storm, self._lab, self._owner, self._figures
        async with Crowd([owner.port], lab.access_tokens(storm.sessions)) as crowd:
            crowd.start_pings()
            async with progress(lambda: f"{self._name}: {len(crowd.connected_since(0))} opened"):
                queries = [lab.query(number) for number in range(1, storm.sessions + 1)]
                await crowd.open(queries, pages=storm.pages, at_once=storm.at_once)
            crowd.ports = [each.port for each in self._standbys]
            crowd.tally = Tally()
            self._watch.take()
            cpu_before, began_at = lab.cpu_times(), time.monotonic()
            if is_drain:
                owner.terminate()
            else:
                owner.kill()
            async with progress(lambda: self._line(crowd, began_at)):
                gone_secs = await self._all_back(crowd, began_at)
            sights, cpu_after = self._watch.take(), lab.cpu_times()
            self._add_ways_back(crowd, began_at, (at_most(0),) if is_drain else ())
            silent = await crowd.count_silent()
            figures.add("silent afterwards", "terminals", silent, at_most(0))
            if is_drain:
                figures.add("owner gone after", "s", gone_secs, at_most(self._bound_secs))
            figures.add_sights("of a standby", sights)
            self._add_cpu_times(cpu_before, cpu_after)
            for reason, count in crowd.tally.reasons.most_common(10):
                print(f"{self._name}: {count} times {reason}")
            for reason, count in crowd.refusals().most_common(10):
                print(f"{self._name}: refused for good {count} times: {reason}")
        return figures

    async def _all_back(self, crowd: Crowd, began_at: float) -> float:
        """Waits for every client and for the owner's end, not without limit; returns when the owner has ended."""
        gone_secs = math.inf
        while (now := time.monotonic() - began_at) < 2 * self._bound_secs + 60:
            if gone_secs == math.inf and not self._owner.is_running:
                gone_secs = now
            decided = len(crowd.connected_since(began_at)) + crowd.refusals().total()
            if decided == len(crowd.clients) and gone_secs < math.inf:
                break
            await asyncio.sleep(_LOOK_EVERY_SECS)
        return gone_secs

    def _add_ways_back(self, crowd: Crowd, began_at: float, refusal_targets: tuple[Target, ...]) -> None:
        figures, tally = self._figures, crowd.tally
        back = crowd.connected_since(began_at)
        refused_for_good = crowd.refusals().total()
        missing = len(crowd.clients) - len(back) - refused_for_good
        longest = max(back, default=math.inf) if len(back) == len(crowd.clients) else math.inf
        figures.add("all back after", "s", longest, at_most(self._bound_secs))
        figures.add("half of them back after", "s", percentile(back, 50))
        figures.add("came back", "1/s", len(back) / max(back, default=math.inf))
        figures.add("refused with 503", "attempts", tally.refused, *refusal_targets)
        figures.add("accepted, then closed", "attempts", tally.closed, *refusal_targets)
        figures.add("no answer, or another", "attempts", tally.failed)
        figures.add("refused for good", "clients", refused_for_good, at_most(0))
        figures.add("not back when the time was over", "clients", missing, at_most(0))

    def _add_cpu_times(self, before: CpuTimes, after: CpuTimes) -> None:
        spent = {
            "the standbys": sum(after.instances[1:]) - sum(before.instances[1:]),
            "PostgreSQL": after.postgres - before.postgres,
            "the devices": after.devices - before.devices,
            "the clients": after.clients - before.clients,
        }
        for what, secs in spent.items():
            self._figures.add(f"CPU of {what} per session", "ms", secs * 1000 / self._storm.sessions)

    def _line(self, crowd: Crowd, began_at: float) -> str:
        back, tally = crowd.connected_since(began_at), crowd.tally
        return (
            f"{self._name}: {time.monotonic() - began_at:.0f} s: {len(back)} of {len(crowd.clients)} back; attempts "
            f"refused with 503: {tally.refused}, accepted and closed: {tally.closed}, failed: {tally.failed}"
        )
