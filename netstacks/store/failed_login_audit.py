"""Failed log-ins in the audit log: one row each up to an hourly limit, because anyone can cause them.

Beyond the limit they are counted by client network, and each count is written as one row from time to time.
"""

from datetime import datetime

from netstacks.store import audit
from netstacks.store.audit import SYSTEM, Actor
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("failed_login_audit")

EVENT = "auth.login_failed"
MORE_EVENT = "auth.login_failed_more"
# The age at which a count is written. It limits the rows per hour of a continuing attack.
COUNT_SECS = 600.0
# The networks with the most attempts get a row each; all others share one.
_MAX_NETWORKS = 100
# How many networks one call writes, far below what PostgreSQL can within the statement timeout.
_STEP = 100_000


def note(tx: Transaction, actor: Actor, resource: str, network: str, most_per_hour: int) -> None:
    """Writes the audit row of a failed log-in, or counts it when all instances together have reached the limit.

    Concurrent transactions may exceed the limit by a few rows. A counted log-in keeps the row of its network locked
    until the transaction ends.
    """
    row = tx.execute(_SQL["rows_of_hour"], {"event": EVENT, "most": most_per_hour}).fetchone()
    if row is None or row["rows"] < most_per_hour:
        audit.append(tx, actor, EVENT, resource)
    else:
        tx.execute(_SQL["count"], {"network": network})


def write_counted(tx: Transaction, *, age_secs: float = COUNT_SECS) -> int:
    """Writes the counts older than `age_secs` as audit rows, and resets them; returns the number of attempts."""
    wanted = {"age_secs": age_secs, "most": _MAX_NETWORKS, "step": _STEP}
    rows = tx.execute(_SQL["take_counts"], wanted).fetchall()
    for row in rows:
        details = {"attempts": row["attempts"], "since": _text(row["since"]), "until": _text(row["last_at"])}
        if row["network"] is None:
            audit.append(tx, SYSTEM, MORE_EVENT, "address:others", **details, addresses=row["networks"])
        else:
            audit.append(tx, SYSTEM, MORE_EVENT, f"address:{row['network']}", **details)
    return sum(row["attempts"] for row in rows)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
