"""What all instances ask of PostgreSQL every few seconds, storm or not: the reconciler's questions and witnesses."""

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg

from bench.storm_database import Cost, Full, id_of, name_of
from netstacks.store import held_sessions, sessions
from netstacks.store.held_sessions import Held, Page
from netstacks.store.queries import load
from netstacks.store.witness import Witness

# As the reconciler's.
PAGE_SESSIONS = 500
# PostgreSQL plans a statement anew the first times; instances have asked for longer.
_WARM_UP_CALLS, _CALLS = 20, 5
_WITNESSES = 200


@dataclass(frozen=True)
class Lookout:
    """The cost of one instance's look while all live, and of the first look after a loss."""

    own: Cost
    """Its own sessions compared with their rows."""
    owners: Cost
    """The other instances that own live sessions."""
    mark: Cost
    """The sessions of those that are gone are marked as orphans; by the first instance that looks."""
    mark_again: Cost
    """The same by each of the others."""
    witness: Cost
    """One look at a witness, beside `_WITNESSES` others."""

    def cpu_secs(self) -> float:
        """The processor seconds of one look."""
        return self.own.cpu_secs + self.owners.cpu_secs + self.mark_again.cpu_secs


def measure(full: Full, lost: int) -> Lookout:
    """`lost` of the instances are gone."""
    gone = [name_of(number) for number in range(lost)]
    me = name_of(lost)
    held = [Held(id_of("session", number), 1, "active") for number in full.sessions_of(lost)]
    held.sort(key=lambda each: each.id.int)
    pages = [held[start : start + PAGE_SESSIONS] for start in range(0, len(held), PAGE_SESSIONS)]
    bounds = [None, *[page[-1].id for page in pages[:-1]], None]

    def compare() -> None:
        for number, page in enumerate(pages):
            with full.database.transaction() as tx:
                found = held_sessions.differences(tx, me, Page(page, bounds[number], bounds[number + 1]))
            if found.rows or found.missing:
                raise RuntimeError("held sessions and rows differ")

    def owners() -> None:
        with full.database.transaction() as tx:
            if len(sessions.other_owners(tx, me)) != full.instances - 1:
                raise RuntimeError("not all owners were found")

    def mark(names: list[str]) -> None:
        with full.database.transaction(timeout_secs=None) as tx:
            sessions.detach_orphans(tx, names)

    own = _each(full, compare)
    found_owners = _each(full, owners)
    first = full.cost_of(lambda _: mark(gone))
    return Lookout(own, found_owners, first, _each(full, lambda: mark(gone)), _witness(full))


def _each(full: Full, action: Callable[[], None]) -> Cost:
    """The cost of one call after many others."""

    def calls(count: int) -> None:
        for _ in range(count):
            action()

    calls(_WARM_UP_CALLS)
    cost = full.cost_of(lambda _: calls(_CALLS))
    return Cost(1, 1, cost.cpu_secs / _CALLS, cost.wal_bytes // _CALLS, cost.wall_secs / _CALLS)


def _witness(full: Full) -> Cost:
    """As long as `_WITNESSES` instances hold theirs."""
    take = load("witness")["take"]
    some = random.Random(1)
    with ExitStack() as held:
        for _ in range(_WITNESSES):
            connection = held.enter_context(psycopg.connect(full.url, autocommit=True))
            connection.execute(take.encode(), {"key": some.getrandbits(62)})
        reader = Witness(full.url, full.database, "ctrl-reader")
        calls = 50
        reader.of("ctrl-other")
        cost = full.cost_of(lambda _: [reader.of("ctrl-other") for _ in range(calls)])
    return Cost(1, 1, cost.cpu_secs / calls, cost.wal_bytes // calls, cost.wall_secs / calls)
