"""Shares: permissions for other people to watch a session or type into it (docs/protocol.md, 7)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

Permission = Literal["read-only", "read-write"]

_SQL = load("shares")


@dataclass(frozen=True)
class Share:
    """A share as stored; its token is made from it (web/auth/share_tokens.py)."""

    id: UUID
    session_id: UUID
    permission: Permission
    max_viewers: int
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


def create(
    tx: Transaction, *, session_id: UUID, permission: Permission, max_viewers: int, ttl: timedelta, created_by: str
) -> Share:
    with tx.cursor(row_factory=row_of(Share)) as cursor:
        parameters = {
            "id": uuid4(),
            "session_id": session_id,
            "permission": permission,
            "max_viewers": max_viewers,
            "created_by": created_by,
            "ttl": ttl,
        }
        share = cursor.execute(_SQL["create"], parameters).fetchone()
        assert share is not None
        return share


def find(tx: Transaction, share_id: UUID) -> Share | None:
    """A share, including revoked and expired ones."""
    with tx.cursor(row_factory=row_of(Share)) as cursor:
        return cursor.execute(_SQL["find"], {"id": share_id}).fetchone()


def open_of(tx: Transaction, session_id: UUID) -> list[Share]:
    """The shares of a session that are neither revoked nor expired, oldest first."""
    with tx.cursor(row_factory=row_of(Share)) as cursor:
        return cursor.execute(_SQL["open_of"], {"session_id": session_id}).fetchall()


def is_open(tx: Transaction, share_id: UUID) -> bool:
    """Whether a share is neither revoked nor expired."""
    return tx.execute(_SQL["is_open"], {"id": share_id}).fetchone() is not None


def revoke(tx: Transaction, session_id: UUID, share_id: UUID | None = None) -> list[Share]:
    """Revokes one share of a session, or all of them; returns those that were not revoked before."""
    with tx.cursor(row_factory=row_of(Share)) as cursor:
        return cursor.execute(_SQL["revoke"], {"session_id": session_id, "id": share_id}).fetchall()


def revoke_of_others(tx: Transaction, user_id: UUID, username: str) -> list[Share]:
    """Revokes the shares that a user has made of other users' sessions, after the user has lost that permission."""
    with tx.cursor(row_factory=row_of(Share)) as cursor:
        return cursor.execute(_SQL["revoke_of_others"], {"user_id": user_id, "username": username}).fetchall()
