"""Lists of users, with their log-ins and their live sessions counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import sql

from netstacks.store.pool import Transaction
from netstacks.store.queries import all_of, load, row_of

_SQL = load("user_lists")

State = Literal["active", "inactive"]


@dataclass(frozen=True)
class ListedUser:
    """A user, with the number of log-ins that have not ended and of sessions that have not."""

    id: UUID
    username: str
    email: str | None
    display_name: str | None
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None
    logins: int
    sessions: int
    auth_provider: str
    version: int


@dataclass(frozen=True)
class Filter:
    """Conditions that a user must all meet; `search` is a substring of the name, display name or e-mail address."""

    search: str | None = None
    role: str | None = None
    state: State | None = None


def page(tx: Transaction, wanted: Filter, *, limit: int, offset: int) -> tuple[list[ListedUser], int]:
    """A page of users by name, and the total number."""
    conditions, values = _conditions(wanted)
    statement = sql.SQL(_SQL["page"]).format(conditions=conditions)
    with tx.cursor(row_factory=row_of(ListedUser)) as cursor:
        found = cursor.execute(statement, {**values, "limit": limit, "offset": offset}).fetchall()
    row = tx.execute(sql.SQL(_SQL["count"]).format(conditions=conditions), values).fetchone()
    assert row is not None
    return found, int(row["total"])


def find(tx: Transaction, user_id: UUID) -> ListedUser | None:
    statement = sql.SQL(_SQL["page"]).format(conditions=sql.SQL(_SQL["with_id"]))
    with tx.cursor(row_factory=row_of(ListedUser)) as cursor:
        return cursor.execute(statement, {"id": user_id, "limit": 1, "offset": 0}).fetchone()


def _conditions(wanted: Filter) -> tuple[sql.Composable, Mapping[str, Any]]:
    values = {"search": wanted.search, "role": wanted.role, "is_active": wanted.state and wanted.state == "active"}
    given = {name: value for name, value in values.items() if value is not None}
    return all_of([sql.SQL(_SQL[f"with_{name}"]) for name in given]), given
