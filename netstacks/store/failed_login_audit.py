"""Failed log-ins in the audit log: a row for each, but in an hour no more than a stranger may cause.

The rest is counted by the network that it comes from, and told in one row for each network now and then.
"""

from datetime import datetime

from netstacks.store import audit
from netstacks.store.audit import SYSTEM, Actor
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("failed_login_audit")

EVENT = "auth.login_failed"
MORE_EVENT = "auth.login_failed_more"
# What was counted for so long is told. Of an attack that goes on the log has as many rows an hour as this allows.
COUNT_SECS = 600.0
# The networks with the most attempts have a row of their own; all others share one.
_MOST_NETWORKS = 100
# So many networks are told of at once, far fewer than PostgreSQL can within the statement timeout.
_STEP = 100_000


def note(tx: Transaction, actor: Actor, resource: str, network: str, most_per_hour: int) -> None:
    """Writes the audit row of a failed log-in, or counts it when all instances have written enough of them.

    A few that come at the same moment may be written beyond that. One that is counted keeps its network's row locked
    until the transaction ends.
    """
    row = tx.execute(_SQL["rows_of_hour"], {"event": EVENT, "most": most_per_hour}).fetchone()
    if row is None or row["rows"] < most_per_hour:
        audit.append(tx, actor, EVENT, resource)
    else:
        tx.execute(_SQL["count"], {"network": network})


def tell_counted(tx: Transaction, *, age_secs: float = COUNT_SECS) -> int:
    """Writes the audit rows of what has been counted for so long, and counts anew; returns how many attempts it was."""
    wanted = {"age_secs": age_secs, "most": _MOST_NETWORKS, "step": _STEP}
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
