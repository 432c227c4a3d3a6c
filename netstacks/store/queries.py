"""Named SQL: each `sql/NAME.sql` holds statements headed by `-- name: ...`, loaded once at import."""

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
    # Literal, as far as injection goes: it is a file of this package.
    return {key: cast(LiteralString, statement.strip()) for key, statement in zip(parts[::2], parts[1::2], strict=True)}


def row_of(kind: type[_Row]) -> BaseRowFactory[_Row]:
    """Has rows returned as objects of a dataclass, without the columns that it does not know.

    A newer version of this program may have added some, while this one still serves in a rolling upgrade.
    """
    known = {field.name for field in fields(cast(Any, kind))}
    return kwargs_row(lambda **columns: kind(**{name: value for name, value in columns.items() if name in known}))


def all_of(conditions: Iterable[sql.Composable]) -> sql.Composed:
    """One condition that holds where all of these do.

    So a list asks for the filters that are given, and no others. One statement for every set of filters (`%(x)s IS NULL
    OR ...`) uses no index: what PostgreSQL is asked often, it plans without seeing the values.
    """
    return sql.SQL(" AND ").join([*conditions] or [sql.SQL("true")])


def read_in_order(tx: Transaction) -> None:
    """Until the transaction ends, PostgreSQL reads what is to be in order by an index that has this order.

    Else it may read all that matches and sort it, for it guesses how much that is, and guesses wrong where filters go
    together (a robot of which there are a million rows, and an event that it alone has).
    """
    tx.execute("SET LOCAL enable_sort = off")


def mark(column_leads: bool) -> sql.SQL:
    """Where nulls stand in an order: last in the indexes that begin with a column to filter by, first in the others.

    The columns that lists are ordered by have none. The mark makes two orders of one, so that PostgreSQL cannot take an
    index without the filter's column, and read the rows of all users to find those of one.
    """
    return sql.SQL("LAST" if column_leads else "FIRST")
