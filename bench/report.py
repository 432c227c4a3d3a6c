"""The figures as a table: medians or the worst, ratios, and whether they reach their targets."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound for our value as a multiple of a peer's, or as it is when there is no peer."""

    bound: float
    peer: str = ""
    is_minimum: bool = False

    def judge(self, ours: list[float], theirs: list[float], summary: Callable[[list[float]], float]) -> str:
        """Rounds are compared one by one, as they ran side by side; the `summary` of their ratios counts."""
        values = [a / b for a, b in zip(ours, theirs, strict=False)] if self.peer else ours
        value = summary(values)
        is_reached = value >= self.bound if self.is_minimum else value <= self.bound
        what = f"{value:.2f} x {self.peer}, " if self.peer else ""
        return (
            f"{what}{'at least' if self.is_minimum else 'at most'} {self.bound:g}: {'ok' if is_reached else 'MISSED'}"
        )


def at_least(bound: float, peer: str) -> Target:
    return Target(bound, peer, is_minimum=True)


def at_most(bound: float, peer: str = "") -> Target:
    return Target(bound, peer)


@dataclass(frozen=True)
class Row:
    """`worst`: the largest value counts, not the median."""

    name: str
    unit: str
    targets: tuple[Target, ...] = ()
    worst: bool = False

    def summary(self, values: list[float]) -> float:
        return max(values) if self.worst else statistics.median(values)


class Results:
    """Samples by row and stack; the first of the stacks is ours."""

    def __init__(self, *stacks: str) -> None:
        self._stacks = stacks
        self._samples: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, row: str, stack: str, value: float) -> None:
        self._samples[row, stack].append(value)

    def table(self, rows: Iterable[Row]) -> str:
        """One line a row that was measured, in the order of `rows`."""
        measured = [row for row in rows if any((row.name, stack) in self._samples for stack in self._stacks)]
        width = max(len(f"{row.name}, {row.unit}") for row in measured)
        lines = [" " * width + "".join(f"{stack:>11}" for stack in self._stacks)]
        for row in measured:
            values = "".join(f"{self._value(row, stack):>11}" for stack in self._stacks)
            verdicts = "; ".join(self._judge(row, target) for target in row.targets)
            lines.append(f"{f'{row.name}, {row.unit}':<{width}}{values}   {verdicts}".rstrip())
        return "\n".join(lines)

    def _value(self, row: Row, stack: str) -> str:
        samples = self._samples.get((row.name, stack))
        return f"{row.summary(samples):.4g}" if samples else "-"

    def _judge(self, row: Row, target: Target) -> str:
        ours, theirs = self._samples[row.name, self._stacks[0]], self._samples.get((row.name, target.peer), [])
        return target.judge(ours, theirs, row.summary)
