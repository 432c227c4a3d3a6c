"""Whether a user still has access: asked in the transaction of whatever the answer has a lasting effect on.

A withdrawal of access updates or deletes the rows that `confirm` locks. So it either comes first, and `confirm`
refuses, or it waits for the transaction, and finds what that has made. Both queue at a lock of the user's before that:
row locks that are shared let a withdrawal wait for as long as requests keep coming, and are taken in any order.
"""

from collections.abc import Sequence
from uuid import UUID

from netstacks import permissions
from netstacks.errors import AccessWithdrawn
from netstacks.store.audit import Actor
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("access")

WITHDRAWN = "access was withdrawn"


def role_of(tx: Transaction, actor: Actor) -> str | None:
    """The role that the actor's log-in gives, or the actor's user where no log-in is named; None when it has ended.

    The rows stay locked against a withdrawal until the transaction ends.
    """
    if actor.login_id is None:
        row = tx.execute(_SQL["confirm_user"], {"user_id": actor.id}).fetchone()
    else:
        row = tx.execute(_SQL["confirm_login"], {"user_id": actor.id, "login_id": actor.login_id}).fetchone()
    return row["role"] if row else None


def confirm(tx: Transaction, actor: Actor, permission: str | None) -> None:
    """Raises AccessWithdrawn unless the actor may do what `permission` stands for until the transaction ends.

    None stands for nothing but to be logged in.
    """
    role = role_of(tx, actor)
    if role is None or (permission is not None and not permissions.grants(role, permission)):
        raise AccessWithdrawn(WITHDRAWN)


def lock(tx: Transaction, user_id: UUID) -> None:
    """To be called first in a transaction that changes a user or ends log-ins of that user.

    It waits for those that have confirmed the user's access, and those that want to wait for it.
    """
    tx.execute(_SQL["hold"], {"user_id": user_id})


def lock_administration(tx: Transaction) -> None:
    """Holds off other changes of users until the transaction ends.

    Two administrators who withdraw each other's access would otherwise lock each other's rows in opposite orders.
    """
    tx.execute(_SQL["lock_administration"])


def roles(tx: Transaction, user_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The roles of those users who are active."""
    rows = tx.execute(_SQL["roles"], {"user_ids": list(user_ids)}).fetchall()
    return {row["id"]: row["role"] for row in rows}


def revoked(tx: Transaction, login_ids: Sequence[UUID]) -> set[UUID]:
    """The log-ins among these that were revoked. One that has expired was not: its connections go on."""
    return {row["id"] for row in tx.execute(_SQL["revoked"], {"login_ids": list(login_ids)}).fetchall()}
