"""Whether a user still has access, checked inside the transaction that depends on it.

A withdrawal of access updates or deletes the rows that `confirm` locks. Either the withdrawal commits first and
`confirm` refuses, or it waits for the transaction and sees its result. Both take an advisory lock of the user first:
with shared row locks alone, a steady stream of requests would starve a withdrawal, and the order of the row locks is
undefined.
"""

from collections.abc import Sequence
from uuid import UUID

from netstacks.errors import AccessWithdrawn
from netstacks.permissions import Role
from netstacks.store.audit import Actor
from netstacks.store.pool import Transaction
from netstacks.store.queries import load
from netstacks.store.roles import role_named, role_of_row

_SQL = load("access")

WITHDRAWN = "access was withdrawn"


def role_of(tx: Transaction, actor: Actor) -> Role | None:
    """The role of the actor's log-in, or of the actor's user when no log-in is named; None when it has ended.

    The rows stay locked against a withdrawal until the transaction ends, and so does the role against a change.
    """
    if actor.login_id is None:
        row = tx.execute(_SQL["confirm_user"], {"user_id": actor.id}).fetchone()
    else:
        row = tx.execute(_SQL["confirm_login"], {"user_id": actor.id, "login_id": actor.login_id}).fetchone()
    # A second statement: the first one sees roles as they were before it waited for its turn.
    return role_named(tx, row["role"]) if row else None


def confirm(tx: Transaction, actor: Actor, permission: str | None) -> Role:
    """Raises AccessWithdrawn unless the actor has `permission`, and keeps it so until the transaction ends.

    None requires a valid log-in only. Returns the actor's role.
    """
    role = role_of(tx, actor)
    if role is None or (permission is not None and not role.may(permission)):
        raise AccessWithdrawn(WITHDRAWN)
    return role


def lock(tx: Transaction, user_id: UUID) -> None:
    """To be called first in a transaction that changes a user or ends log-ins of that user.

    Waits for the transactions that have confirmed the user's access; later ones wait for this transaction.
    """
    tx.execute(_SQL["lock"], {"user_id": user_id})


def lock_administration(tx: Transaction) -> None:
    """Blocks other changes of users until the transaction ends.

    Two administrators withdrawing each other's access would otherwise lock rows in opposite orders and deadlock.
    """
    tx.execute(_SQL["lock_administration"])


def lock_roles(tx: Transaction) -> None:
    """To be called in a transaction that changes roles, after `lock_administration` and the check of its own access.

    Waits for the transactions that have confirmed an access; later ones wait for this transaction.
    """
    tx.execute(_SQL["lock_roles"])


def roles(tx: Transaction, user_ids: Sequence[UUID]) -> dict[UUID, Role]:
    """The roles of the active users among `user_ids`."""
    rows = tx.execute(_SQL["roles"], {"user_ids": list(user_ids)}).fetchall()
    return {row["id"]: role_of_row(row) for row in rows}


def role_name(tx: Transaction, user_id: UUID) -> str:
    """The name of the user's role; empty when the user is inactive or deleted."""
    role = roles(tx, [user_id]).get(user_id)
    return role.name if role else ""


def revoked(tx: Transaction, login_ids: Sequence[UUID]) -> set[UUID]:
    """The revoked log-ins among `login_ids`. An expired log-in is not revoked, and its connections continue."""
    return {row["id"] for row in tx.execute(_SQL["revoked"], {"login_ids": list(login_ids)}).fetchall()}
