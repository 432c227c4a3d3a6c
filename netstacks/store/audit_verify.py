"""The proof of the audit log: every sealed row is there, unchanged and in its order, and no other row was added.

The proof reads slices, each in a transaction of its own, while rows are appended and sealed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from netstacks.store import audit_chain
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

_SQL = load("audit_chain")

# The most seals that are read at a time, and about the most rows of them; and how many ids are searched at a time for
# rows that were never sealed.
_SLICE_SEALS, _SLICE_ROWS = 5000, 5000
_SLICE_IDS = 20_000

Kind = Literal["changed", "removed", "inserted", "reordered", "chain"]
Progress = Callable[[int, int], None]
Digests = Mapping[int, list[bytes]]
"""The SHA-256 of the rows with an id: of one, unless the log was manipulated."""


@dataclass(frozen=True)
class Problem:
    """The first deviation. `row_id` is None when it is one of the chain itself; `text` is a sentence."""

    kind: Kind
    row_id: int | None
    seal: int | None
    text: str


@dataclass
class Verdict:
    """What was read until the end of the log, or until the first problem."""

    rows: int = 0
    """Rows that were compared with their seals."""
    seals: int = 0
    dropped_rows: int = 0
    """Rows that retention has removed and whose seals remain."""
    sealed_rows: int = 0
    waiting_rows: int = 0
    """Rows that are not sealed yet."""
    number: int = 0
    sha256: str = ""
    """Of the last seal."""
    has_head: bool = False
    """Whether a seal of the chain has the wanted hash."""
    problem: Problem | None = None


def verify(
    database: Database,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    head: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Verdict:
    """Verifies the chain, and the rows of all seals that have any between `since` and `until`.

    `head` is the SHA-256 of a seal, in hexadecimal, that is looked for in the chain. `progress` is called with the
    number of seals so far and that of all.
    """
    with database.transaction() as tx:
        end = tx.execute(_SQL["chain"]).fetchone()
        assert end is not None
        dropped_until = _dropped_until(tx)
    verdict = Verdict(sealed_rows=end["rows"], number=end["number"], sha256=end["sha256"].hex())
    span = {"since": since, "until": until}
    verdict.problem = _chain_problem(database, end, dropped_until, span, (head or "").lower(), verdict, progress)
    if verdict.problem is None and since is None and until is None:
        verdict.problem = _added_row(database)
    with database.transaction() as tx:
        row = tx.execute(_SQL["count_waiting"]).fetchone()
        verdict.waiting_rows = row["rows"] if row else 0
    return verdict


def _dropped_until(tx: Transaction) -> str:
    """The month from which on retention has removed nothing, as an ISO date; empty when it has removed nothing."""
    row = tx.execute(_SQL["dropped_until"]).fetchone()
    return row["until"] if row else ""


def _chain_problem(
    database: Database,
    end: dict[str, Any],
    dropped_until: str,
    span: dict[str, datetime | None],
    head: str,
    verdict: Verdict,
    progress: Progress,
) -> Problem | None:
    previous: dict[str, Any] | None = None
    for seals, digests in _slices(database, span, end["number"]):
        for seal in seals:
            problem = _link_problem(previous, seal, dropped_until)
            if problem is None and seal["is_wanted"]:
                problem = _rows_problem(database, seal, digests)
                verdict.rows += seal["rows"]
            if problem is not None:
                return problem
            if seal["ids"] is None:
                verdict.dropped_rows += seal["rows"]
            verdict.seals += 1
            verdict.has_head = verdict.has_head or seal["sha256"].hex() == head
            previous = seal
        progress(seals[-1]["number"], end["number"])
    last = (previous["number"], previous["sha256"], previous["first_row"] + previous["rows"]) if previous else None
    if end["number"] and last != (end["number"], end["sha256"], end["rows"]):
        return Problem("chain", None, end["number"], f"the end of the chain, seal {end['number']}, is missing")
    return None


def _slices(
    database: Database, span: dict[str, datetime | None], last: int
) -> Iterator[tuple[list[dict[str, Any]], Digests]]:
    """All seals in their order, some at a time, and the digests of the rows of the wanted ones among them."""
    values = {**span, "after": 0, "last": last, "limit": _SLICE_SEALS, "rows": _SLICE_ROWS}
    while True:
        with database.transaction() as tx:
            seals = tx.execute(_SQL["seals"], values).fetchall()
            if not seals:
                return
            digests = _digests(tx, [row_id for seal in seals if seal["is_wanted"] for row_id in seal["ids"]])
        yield seals, digests
        values["after"] = seals[-1]["number"]


def _digests(tx: Transaction, ids: list[int]) -> Digests:
    found = defaultdict(list)
    for row in tx.execute(_SQL["of_ids"], {"ids": ids}):
        found[row["id"]].append(audit_chain.digest(row["text"]))
    return found


def _link_problem(previous: dict[str, Any] | None, seal: dict[str, Any], dropped_until: str) -> Problem | None:
    """The problem of a seal that does not follow the one before it; None when it does."""
    number, is_empty = seal["number"], seal["ids"] is None
    if is_empty and seal["month"] >= dropped_until:
        text = f"the rows of seal {number} are missing, and the log has no entry that retention has removed them"
        return Problem("removed", seal["first_id"], number, text)
    expected = previous["number"] + 1 if previous else 1
    if number != expected and not (previous is None and is_empty):
        return Problem("chain", None, expected, f"seal {expected} is missing")
    if is_empty:
        return None
    before = previous["sha256"] if previous else b""
    sha256 = audit_chain.seal_digest(before, number, seal["sealed_us"], seal["ids"], seal["digests"])
    first_row = previous["first_row"] + previous["rows"] if previous else 0
    counted = (len(seal["ids"]), 32 * len(seal["ids"]), first_row)
    if sha256 != seal["sha256"] or counted != (seal["rows"], len(seal["digests"]), seal["first_row"]):
        return Problem("chain", None, number, f"seal {number} was changed, or the one before it was")
    return None


def _rows_problem(database: Database, seal: dict[str, Any], digests: Digests) -> Problem | None:
    """The first row of a seal that is not as it was sealed."""
    sealed = {row_id: seal["digests"][32 * index :][:32] for index, row_id in enumerate(seal["ids"])}
    for row_id, digest in sealed.items():
        found = digests.get(row_id, [])
        if not found and _is_dropped(database, seal["number"]):
            return None  # Retention has removed the rows meanwhile.
        if found != [digest]:
            return _row_problem(row_id, found, sealed, seal["number"])
    return None


def _is_dropped(database: Database, number: int) -> bool:
    with database.transaction() as tx:
        row = tx.execute(_SQL["is_dropped"], {"number": number}).fetchone()
    return row is None or bool(row["is_dropped"])


def _row_problem(row_id: int, found: list[bytes], sealed: dict[int, bytes], number: int) -> Problem:
    if not found:
        return Problem("removed", row_id, number, f"row {row_id} was removed")
    if len(found) > 1:
        return Problem("inserted", row_id, number, f"another row {row_id} was inserted")
    other = next((each for each, digest in sealed.items() if digest == found[0]), None)
    if other is not None:
        return Problem("reordered", row_id, number, f"row {row_id} was reordered: it has the content of row {other}")
    return Problem("changed", row_id, number, f"row {row_id} was changed")


def _added_row(database: Database) -> Problem | None:
    """The first row that was never sealed and does not wait for it."""
    first_id = -(2**63)
    while True:
        with database.transaction() as tx:
            row = tx.execute(_SQL["next_id"], {"id": first_id}).fetchone()
            if row is None:
                return None
            first_id, last_id = row["id"], row["id"] + _SLICE_IDS - 1
            added = tx.execute(_SQL["unsealed"], {"first_id": first_id, "last_id": last_id}).fetchone()
        if added is not None:
            return Problem("inserted", added["id"], None, f"row {added['id']} was inserted past the chain")
        first_id = last_id + 1
