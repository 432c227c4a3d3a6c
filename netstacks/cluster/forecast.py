"""The forecast of a drain or a move: where the sessions go, how long it takes, and what is at risk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from netstacks.cluster.draining import DrainPlan, heirs, others_open_per_sec, plan_drain
from netstacks.cluster.model import Snapshot


@dataclass(frozen=True)
class Target:
    """An instance that takes over about `sessions`; it opens `opens_per_sec` terminals a second."""

    instance_id: str
    host: str
    opens_per_sec: float
    sessions: int


@dataclass(frozen=True)
class Exposure:
    """How many sessions are at risk, by its kind; `unread` ones were not examined because time was short."""

    output: int = 0
    configuration: int = 0
    confirmed_commits: int = 0
    unread: int = 0


@dataclass(frozen=True)
class Forecast:
    """What a drain of an instance would do now. `warning` is a text for the administrator, None when all is well."""

    plan: DrainPlan
    targets: tuple[Target, ...]
    warning: str | None


def forecast(
    snapshot: Snapshot,
    me: str,
    ttl_secs: float,
    *,
    attached: int,
    detached: int,
    window_secs: float,
    exposure: Exposure,
) -> Forecast:
    """The forecast of a drain of `me`, which holds `attached` and `detached` sessions."""
    plan = plan_drain(attached, others_open_per_sec(snapshot, me, ttl_secs), window_secs)
    targets = split(snapshot, me, ttl_secs, attached)
    return Forecast(plan, targets, _warning(plan, bool(targets), attached, detached, exposure))


def split(snapshot: Snapshot, me: str, ttl_secs: float, sessions: int) -> tuple[Target, ...]:
    """Splits sessions among the other instances by what each opens per second; the most capable comes first.

    Without a report of any rate, as just after a start, the sessions are split evenly.
    """
    others = sorted(heirs(snapshot, me, ttl_secs), key=lambda each: (-each.opens_per_sec, each.id))
    rates = [each.opens_per_sec for each in others]
    counts = _shares(rates if any(rates) else [1.0] * len(others), sessions)
    return tuple(
        Target(each.id, each.host, each.opens_per_sec, count) for each, count in zip(others, counts, strict=True)
    )


def _shares(weights: Sequence[float], total: int) -> list[int]:
    """Whole shares of `total` in proportion to the weights, by the method of the largest remainder."""
    whole = sum(weights)
    exact = [total * weight / whole for weight in weights]
    counts = [math.floor(each) for each in exact]
    by_remainder = sorted(range(len(counts)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _warning(plan: DrainPlan, has_targets: bool, attached: int, detached: int, exposure: Exposure) -> str | None:
    sentences = []
    if not has_targets and attached + detached:
        sentences.append(
            "No other healthy instance can take over: these sessions are interrupted until an instance is back."
        )
    elif plan.is_too_short:
        sentences.append(
            f"The hand-over needs about {math.ceil(plan.needs_secs)} s but has {plan.window_secs:g} s: clients will"
            " wait in the queues of the other instances. Raise DRAIN_TIMEOUT_SECS to avoid that."
        )
    dangers = [
        _counted(exposure.confirmed_commits, "has a confirmed commit under way", "have a confirmed commit under way"),
        _counted(exposure.configuration, "is in configuration mode", "are in configuration mode"),
        _counted(exposure.output, "has output under way", "have output under way"),
    ]
    if named := [each for each in dangers if each]:
        sentences.append(f"{'; '.join(named)}: the SSH connection to the device ends in a hand-over.")
    if exposure.unread:
        sentences.append(f"{exposure.unread} sessions were not examined: there was no time for all of them.")
    return " ".join(sentences) or None


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {'session ' + one if count == 1 else 'sessions ' + several}" if count else ""
