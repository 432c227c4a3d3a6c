"""Named SQL statements: each `sql/NAME.sql` holds statements headed by `-- name: ...`, loaded once at import."""

import re
from collections.abc import Iterable
from dataclasses import fields
from importlib import resources
from typing import Any, LiteralString, TypeVar, cast

from psycopg import sql
from psycopg.rows import BaseRowFactory, kwargs_row

from netstacks.store.pool import Transaction

_Row = TypeVar("_Row")

_HEAD = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(name: str) -> dict[str, LiteralString]:
    """Returns the statements of `sql/{name}.sql` by their names."""
    text = (resources.files("netstacks.store") / "sql" / f"{name}.sql").read_text()
    _, *parts = _HEAD.split(text)
    # As safe as a literal: the file is part of this package.
    return {key: cast(LiteralString, statement.strip()) for key, statement in zip(parts[::2], parts[1::2], strict=True)}


def row_of(kind: type[_Row]) -> BaseRowFactory[_Row]:
    """A row factory for a dataclass that ignores columns without a field.

    During a rolling upgrade a newer version of this program may have added columns.
    """
    known = {field.name for field in fields(cast(Any, kind))}
    return kwargs_row(lambda **columns: kind(**{name: value for name, value in columns.items() if name in known}))


def all_of(conditions: Iterable[sql.Composable]) -> sql.Composed:
    """The conjunction of the conditions.

    A list query contains only the filters that are given. One statement for all sets of filters (`%(x)s IS NULL OR
    ...`) would use no index: PostgreSQL plans a frequent statement without seeing the values (generic plan).
    """
    return sql.SQL(" AND ").join([*conditions] or [sql.SQL("true")])


def read_in_order(tx: Transaction) -> None:
    """Makes PostgreSQL use an index for ORDER BY until the transaction ends.

    Otherwise it may read and sort all matching rows. Its estimate of their number is wrong for correlated filters, such
    as an actor with a million rows and an event that only this actor causes.
    """
    tx.execute("SET LOCAL enable_sort = off")


def read_one_state(tx: Transaction) -> None:
    """Makes all statements of the transaction, which only reads, see the same state. Must be its first statement."""
    tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def mark(column_leads: bool) -> sql.SQL:
    """The NULLS clause of an order: LAST for the indexes that begin with a filter column, FIRST for the others.

    The ordered columns have no nulls, so both orders are the same. To PostgreSQL they differ: it cannot use an index
    without the filter column and scan the rows of all users for those of one.
    """
    return sql.SQL("LAST" if column_leads else "FIRST")
