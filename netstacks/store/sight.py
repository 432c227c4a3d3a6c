"""What a user with a scope of devices sees of others: sessions, recordings and audit rows on these devices alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from netstacks.permissions import Reach
from netstacks.store.devices import within_of
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("sight")

# Resources of the audit log that are about one device, or a session on one: what is in sight is looked up by id.
_BY_ID = ("device", "session", "session_definition", "credential")
# The address of a device; in the events of log-ins, that of a client.
_BY_ADDRESS = ("host", "address")
# Rows about several devices, or about one that the row does not identify.
_UNKNOWN = ("devices", "target", "host_key_prompt")


@dataclass(frozen=True)
class Sight:
    """The sessions that a user may see and act on: the user's own, and with `of_others` those within the reach.

    A session is within a limited reach while its device is.
    """

    user_id: UUID
    of_others: bool
    reach: Reach

    @property
    def is_limited(self) -> bool:
        return not self.of_others or self.reach.is_limited

    def conditions(self) -> list[sql.SQL]:
        """The conditions on rows of sessions, for a statement with the parameters `values`."""
        if not self.is_limited:
            return []
        return [sql.SQL(_SQL["own_or_within" if self.of_others else "own"])]

    @property
    def values(self) -> dict[str, Any]:
        return {"seer_id": self.user_id, **within_of(self.reach)}


def seen_sessions(tx: Transaction, session_ids: Iterable[UUID], sight: Sight) -> set[UUID]:
    """Those of the sessions that are in sight."""
    conditions = sql.SQL(" AND ").join([sql.SQL(_SQL["is_one_of"]), *sight.conditions()])
    statement = sql.SQL(_SQL["seen_sessions"]).format(conditions=conditions)
    rows = tx.execute(statement, {"ids": list(session_ids), **sight.values}).fetchall()
    return {row["id"] for row in rows}


def seen_audit_rows(tx: Transaction, rows: Sequence[dict[str, Any]], sight: Sight) -> list[dict[str, Any]]:
    """The audit rows without those about devices beyond a limited reach, and about sessions that are not in sight.

    A device or session that has been deleted is not in sight, since its tags and site are not known any more. Rows that
    name no device stay.
    """
    if not sight.is_limited:
        return list(rows)
    seen = _seen_resources(tx, {row["resource"] for row in rows if _is_of_device(row)}, sight)
    return [row for row in rows if not _is_of_device(row) or row["resource"] in seen or _is_own_and_unknown(row, sight)]


def _is_of_device(row: dict[str, Any]) -> bool:
    kind = row["resource"].partition(":")[0]
    return kind in (*_BY_ID, *_UNKNOWN) or (kind in _BY_ADDRESS and not row["event"].startswith("auth."))


def _is_own_and_unknown(row: dict[str, Any], sight: Sight) -> bool:
    return row["resource"].partition(":")[0] in _UNKNOWN and row["actor_id"] == sight.user_id


def _seen_resources(tx: Transaction, resources: Iterable[str], sight: Sight) -> set[str]:
    ids: dict[str, list[UUID]] = {kind: [] for kind in _BY_ID}
    addresses: list[str] = []
    for resource in resources:
        kind, _, key = resource.partition(":")
        if kind in _BY_ADDRESS:
            addresses.append(key)
        elif kind in _BY_ID:
            try:
                ids[kind].append(UUID(key))
            except ValueError:
                continue
    found = tx.execute(_SQL["seen_resources"], {**ids, "addresses": addresses, **sight.values}).fetchall()
    return {row["resource"] for row in found}
