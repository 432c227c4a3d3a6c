"""Lists of sessions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql

from netstacks.store.pool import Transaction
from netstacks.store.queries import all_of, load, mark, read_in_order
from netstacks.store.sight import Sight

_SQL = load("session_lists")
# A search by device, and one of a limited reach, tests this many sessions for a page; the next page goes on from there.
SEARCHED_SESSIONS = 20_000


@dataclass(frozen=True)
class Page:
    """Sessions newest first. `next` is the `before` of the next page, None on the last one.

    A page may have fewer sessions than its limit, or none, and a `next`.
    """

    rows: list[dict[str, Any]]
    next: datetime | None


def page(
    tx: Transaction,
    *,
    user_id: UUID | None = None,
    live: bool | None = None,
    username: str | None = None,
    device: str | None = None,
    owner: str | None = None,
    before: datetime | None = None,
    limit: int = 100,
    seen_by: Sight | None = None,
) -> Page:
    """Sessions newest first, of one user with `user_id`, only live or only ended ones with `live`.

    `device` is a part of the device's name, `owner` an instance. With `seen_by` only those in sight.
    """
    if owner is not None and live is False:
        return Page([], None)  # An ended session has no owner.
    is_live = live is True or owner is not None
    conditions = _some(
        of_user=user_id is not None,
        of_username=username is not None,
        of_owner=owner is not None,
        is_live=live is True,
        has_ended=live is False,
    )
    sees_own_only = seen_by is not None and not seen_by.of_others
    filters = _some(on_device=device is not None)
    if seen_by is not None:
        (conditions if sees_own_only else filters).extend(seen_by.conditions())
    # Live sessions are few: those of a user name are found among them.
    parts = {
        "conditions": all_of(conditions),
        "leading_mark": mark(user_id is not None or sees_own_only or (username is not None and not is_live)),
    }
    values: dict[str, Any] = {"user_id": user_id, "username": username, "device": device, "owner": owner}
    values |= {"before": before, "limit": limit, "most": SEARCHED_SESSIONS, **(seen_by.values if seen_by else {})}
    read_in_order(tx)
    rows = tx.execute(sql.SQL(_SQL["page"]).format(filters=all_of(filters), **parts), values).fetchall()
    if len(rows) == limit:
        return Page(rows, rows[-1]["started_at"])
    if not filters:
        return Page(rows, None)
    last = tx.execute(sql.SQL(_SQL["last_searched"]).format(**parts), values).fetchone()
    return Page(rows, last["started_at"] if last else None)


def _some(**wanted: bool) -> list[sql.SQL]:
    return [sql.SQL(_SQL[name]) for name, is_wanted in wanted.items() if is_wanted]
