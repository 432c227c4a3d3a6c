"""The targets that audit rows are sent to: the position of each in the chain, and the lease to deliver."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from netstacks.errors import InvalidInput, NotFound
from netstacks.store import versions
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.vault import Vault

_SQL = load("audit_targets")

TargetType = Literal["syslog_udp", "syslog_tcp", "syslog_tls", "webhook"]
TYPES: tuple[TargetType, ...] = ("syslog_udp", "syslog_tcp", "syslog_tls", "webhook")
# Each has a greenlet while it has rows to deliver.
MAX_TARGETS = 10
# After this time another instance delivers in place of one that has died.
LEASE_SECS = 30.0
_SECRET = "push_secret"  # noqa: S105 - the name of a field


@dataclass(frozen=True)
class Target:
    """`address` is `host:port`, or the URL of a webhook. `ca` are certificates to trust instead of the system's (PEM).

    `position` is the number of the next row in the chain, `waiting` how many there are from it on.
    `version` counts the changes, and `updated_by` names the user of the last change.
    """

    id: UUID
    name: str
    type: TargetType
    address: str
    ca: str | None
    is_enabled: bool
    position: int
    failures: int
    problem: str | None
    failing_since: datetime | None
    delivered_at: datetime | None
    created_at: datetime
    version: int
    updated_by: str | None
    waiting: int = 0


@dataclass(frozen=True)
class Backlog:
    """What waits for the targets of one type: the most rows, and the age of the oldest one in seconds."""

    type: TargetType
    rows: int
    age_secs: float


def list_all(tx: Transaction) -> list[Target]:
    """By name."""
    return _all(tx, "all")


def find(tx: Transaction, target_id: UUID) -> Target:
    """Raises NotFound."""
    return _one(tx, "find", target_id)


def lock(tx: Transaction, target_id: UUID) -> Target:
    """As `find`; nothing else changes it until the transaction ends."""
    return _one(tx, "lock", target_id)


def create(tx: Transaction, vault: Vault, secret: str | None, **facts: Any) -> Target:
    """Adds a target for the rows that are sealed from now on. Raises InvalidInput, Conflict, VaultLocked."""
    row = tx.execute(_SQL["count"]).fetchone()
    if row and row["targets"] >= MAX_TARGETS:
        raise InvalidInput(f"there may be {MAX_TARGETS} targets: delete one first")
    target_id = uuid4()
    tx.execute(_SQL["create"], {**facts, "id": target_id})
    if secret:
        vault.seal(tx, target_id, _SECRET, secret)
    return find(tx, target_id)


def update(
    tx: Transaction, vault: Vault, old: Target, secret: str | None, *, by: str, seen: int | None, **facts: Any
) -> Target:
    """Replaces everything of a locked target but a secret that is None, which stays.

    Raises Conflict, VaultLocked, and ChangedMeanwhile as `versions.check` does.
    """
    versions.check(f"the target {old.name}", old.version, old.updated_by, seen=seen)
    tx.execute(_SQL["update"], {**facts, "id": old.id, "by": by})
    if secret:
        vault.seal(tx, old.id, _SECRET, secret)
    return find(tx, old.id)


def delete(tx: Transaction, target: Target, *, seen: int | None = None) -> None:
    """Raises ChangedMeanwhile as `versions.check` does."""
    versions.check(f"the target {target.name}", target.version, target.updated_by, seen=seen)
    tx.execute(_SQL["delete"], {"id": target.id})


def secret_of(tx: Transaction, vault: Vault, target_id: UUID) -> str | None:
    """The secret that signs what is sent to a webhook; None when it has none. Raises VaultLocked."""
    try:
        return vault.open(tx, target_id, _SECRET)
    except NotFound:
        return None


def lease(tx: Transaction, instance: str, busy: Collection[UUID]) -> list[Target]:
    """Leases the targets that are due and have rows waiting, but those that this instance serves already (`busy`)."""
    return _all(tx, "lease", instance=instance, secs=LEASE_SECS, busy=list(busy))


def renew(tx: Transaction, target_id: UUID, instance: str) -> Target | None:
    """Renews the lease and returns the target as it is now; None when the lease was lost, or the target disabled."""
    return next(iter(_all(tx, "renew", id=target_id, instance=instance, secs=LEASE_SECS)), None)


def note_delivered(tx: Transaction, target_id: UUID, instance: str, start: int, position: int) -> bool:
    """Moves the position on; False when another instance has the lease or has moved it."""
    values = {"id": target_id, "instance": instance, "from": start, "position": position}
    return tx.execute(_SQL["delivered"], values).fetchone() is not None


def note_failed(tx: Transaction, target_id: UUID, instance: str, problem: str, pause_secs: float) -> None:
    """Ends the lease; any instance tries again after `pause_secs`."""
    values = {"id": target_id, "instance": instance, "problem": problem, "pause_secs": pause_secs}
    tx.execute(_SQL["failed"], values)


def release(tx: Transaction, target_id: UUID, instance: str) -> None:
    """Ends the lease."""
    tx.execute(_SQL["release"], {"id": target_id, "instance": instance})


def backlog(tx: Transaction) -> list[Backlog]:
    with tx.cursor(row_factory=row_of(Backlog)) as cursor:
        return cursor.execute(_SQL["backlog"]).fetchall()


def _one(tx: Transaction, statement: str, target_id: UUID) -> Target:
    for target in _all(tx, statement, id=target_id):
        return target
    raise NotFound("there is no such target")


def _all(tx: Transaction, statement: str, **values: Any) -> list[Target]:
    with tx.cursor(row_factory=row_of(Target)) as cursor:
        return cursor.execute(_SQL[statement], values).fetchall()
