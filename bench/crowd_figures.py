"""The figures of a scenario: each with its target, and the lines that compare both."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bench.crowd_watch import Sights
from bench.report import Results, Row, Target, at_most

_SAY_EVERY_SECS = 5.0
_HEALTH_P99_MS, _ECHO_P99_MS = 250, 50


class Figures:
    """The figures of one scenario, in the order in which they are added; the median counts for repeated names."""

    def __init__(self, scenario: str) -> None:
        self._scenario = scenario
        self.rows: list[Row] = []
        self.results = Results("netstacks")

    def add(self, name: str, unit: str, value: float, *targets: Target) -> None:
        row = Row(f"{self._scenario}: {name}", unit, targets)
        if row not in self.rows:
            self.rows.append(row)
        self.results.add(row.name, "netstacks", value)

    def add_sights(self, when: str, sights: Sights, *echo_max_targets: Target) -> None:
        """Adds the figures of a watch on one instance."""
        health, echoes = sights.health, sights.echoes
        self.add(f"health {when}, p50", "ms", percentile(health, 50) * 1000)
        self.add(f"health {when}, p99", "ms", percentile(health, 99) * 1000, at_most(_HEALTH_P99_MS))
        self.add(f"health {when}, max", "ms", max(health, default=math.inf) * 1000)
        self.add(f"health {when}, other than 200", "answers", sights.unhealthy.total(), at_most(0))
        self.add(f"echo {when}, p50", "ms", percentile(echoes, 50) * 1000)
        self.add(f"echo {when}, p99", "ms", percentile(echoes, 99) * 1000, at_most(_ECHO_P99_MS))
        self.add(f"echo {when}, max", "ms", max(echoes, default=math.inf) * 1000, *echo_max_targets)


def table(all_figures: Sequence[Figures]) -> str:
    """One line per figure, by scenario; the last line counts the missed targets."""
    text = "\n\n".join(figures.results.table(figures.rows) for figures in all_figures)
    count = sum(len(row.targets) for figures in all_figures for row in figures.rows)
    return f"{text}\n\n{text.count('MISSED')} of {count} targets missed"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed; infinite when there are none."""
    if not values:
        return math.inf
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@asynccontextmanager
async def progress(line: Callable[[], str]) -> AsyncIterator[None]:
    """Prints the line every few seconds, and at the end of the `async with` block."""

    async def say() -> None:
        while True:
            await asyncio.sleep(_SAY_EVERY_SECS)
            print(line(), flush=True)

    task = asyncio.create_task(say())
    try:
        yield
    finally:
        task.cancel()
        print(line(), flush=True)
