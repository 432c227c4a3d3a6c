"""The rows that a list reads, as PostgreSQL counts them: each statement is explained while it runs."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from netstacks.store.pool import Transaction

# With the values in sight, and without: PostgreSQL takes the second for a statement that it is often asked for.
_MODES = ("force_custom_plan", "force_generic_plan")
_PLACEHOLDER = re.compile(r"%\((\w+)\)[sbt]")
_READS = re.compile(r"(--.*\n)*(SELECT|WITH)\b")

Call = Callable[[Transaction], Any]


@dataclass(frozen=True)
class Reading:
    """The reads of one statement: rows of tables, those that a filter removed included, and pages."""

    statement: str
    mode: str
    rows: int
    pages: int
    plan: str


class _Noting(psycopg.Cursor[Any]):
    """A cursor that keeps its statements."""

    asked: list[tuple[str, dict[str, Any]]]

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> "_Noting":
        text = query.as_string(self) if isinstance(query, sql.Composable) else query
        self.asked.append((text, params or {}))
        super().execute(query, params, **kwargs)
        return self


def readings(url: str, call: Call) -> list[Reading]:
    """The reads of each SELECT of `call`, under both plans; all changes are rolled back."""
    calling, explaining = _connections(url)
    asked: list[tuple[str, dict[str, Any]]] = []
    calling.cursor_factory = type("_NotingHere", (_Noting,), {"asked": asked})
    try:
        call(calling)
        calling.rollback()
        found = [reading for each in asked for reading in _explained(explaining, *each)]
        explaining.rollback()
    except BaseException:
        _connections.cache_clear()
        calling.close()
        explaining.close()
        raise
    return found


@cache
def _connections(url: str) -> tuple[psycopg.Connection[DictRow], psycopg.Connection[Any]]:
    """For all calls: a new connection reads the catalogue of every partition before its first plan."""
    return psycopg.connect(url, row_factory=dict_row), psycopg.connect(url, prepare_threshold=None)


def _explained(connection: psycopg.Connection[Any], text: str, values: dict[str, Any]) -> Iterator[Reading]:
    if text.startswith("SET "):
        connection.execute(text.encode())
    if not _READS.match(text):
        return
    names = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
    numbered = _PLACEHOLDER.sub(lambda found: f"${names.index(found[1]) + 1}", text)
    kinds = ["interval" if isinstance(values[name], timedelta) else "unknown" for name in names]
    connection.execute(f"PREPARE asked {'(' + ', '.join(kinds) + ')' if kinds else ''} AS {numbered}".encode())
    given = sql.SQL("({})").format(sql.SQL(", ").join(sql.Literal(values[name]) for name in names))
    run = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked {}").format(given if names else sql.SQL(""))
    for mode in _MODES:
        connection.execute(f"SET LOCAL plan_cache_mode = {mode}".encode())
        row = connection.execute(run).fetchone()
        assert row is not None
        plan = row[0][0]["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        yield Reading(numbered, mode, round(sum(map(_read, _nodes(plan)))), pages, _drawn(plan))
    connection.execute("DEALLOCATE asked")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _read(node: dict[str, Any]) -> float:
    if "Relation Name" not in node and node["Node Type"] != "Bitmap Index Scan":
        return 0
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck", "Rows Removed by Join Filter")
    return float(node["Actual Rows"] + sum(node.get(name, 0) for name in removed)) * node["Actual Loops"]


def _drawn(plan: dict[str, Any], depth: int = 0) -> str:
    what = f"{plan['Node Type']} {plan.get('Relation Name', '')} {plan.get('Index Name', '')}".strip()
    line = f"{'  ' * depth}{what}: {plan['Actual Rows']:g} rows, {plan['Actual Loops']} times\n"
    return line + "".join(_drawn(part, depth + 1) for part in plan.get("Plans", ()))
