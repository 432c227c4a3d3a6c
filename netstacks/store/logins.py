"""Log-ins: one row each, for what a refresh token or a page cookie stands for, and what revoking ends."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal
from uuid import UUID, uuid4

from netstacks.errors import NotFound
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("logins")

ClientType = Literal["terminal", "admin_ui", "page"]

# How long a log-in lives on after its last refresh, or a page's after its last request.
LOGIN_TTL = timedelta(days=7)
PAGE_TTL = timedelta(hours=12)
# The client may send one refresh token twice at once, and keeps the answer that comes last (wire contract 3.2).
GRACE = timedelta(seconds=60)
# Reloads and crashes never log out; a client that is there asks for something within its token's hour.
SEAT_IDLE = timedelta(hours=2)


class Refresh(Enum):
    """What presenting a refresh token did: `REPEATED` within the grace of the previous one, `REUSED` after it."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"


@dataclass(frozen=True)
class Refreshed:
    """The answer to a refresh token, with the user as he is now."""

    result: Refresh
    username: str
    role: str


@dataclass(frozen=True)
class Login:
    """One of a user's log-ins, as they see it themselves."""

    id: UUID
    client_type: ClientType
    address: str | None
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class SeatLogin:
    """A terminal log-in that holds its user's seat."""

    user_id: UUID
    user_email: str
    started_at: datetime
    last_activity_at: datetime


def begin(
    tx: Transaction,
    user_id: UUID,
    client_type: ClientType,
    *,
    max_days: int,
    token_id: str | None = None,
    address: str | None = None,
) -> UUID:
    """Adds a log-in and returns its id; a page's has no refresh token. It ends after `max_days`, however it is used."""
    login_id = uuid4()
    tx.execute(_SQL["forget_expired"], {"user_id": user_id})
    values: dict[str, Any] = {
        "id": login_id,
        "user_id": user_id,
        "client_type": client_type,
        "refresh_hash": _digest(token_id) if token_id else None,
        "address": address,
        "ttl": PAGE_TTL if client_type == "page" else LOGIN_TTL,
        "max_days": max_days,
    }
    tx.execute(_SQL["insert"], values)
    return login_id


def role(tx: Transaction, login_id: UUID, *, max_days: int) -> str | None:
    """The role that a log-in gives at this moment, None when it has ended; notes that its user is there.

    A page's lives on by that, until it is `max_days` old.
    """
    row = tx.execute(_SQL["look_up"], {"id": login_id}).fetchone()
    if row is None:
        return None
    if row["seen_long_ago"]:
        tx.execute(_SQL["touch"], {"id": login_id, "page_ttl": PAGE_TTL, "max_days": max_days})
    return str(row["role"])


def refresh(tx: Transaction, login_id: UUID, *, token_id: str, next_id: str, max_days: int) -> Refreshed | None:
    """Puts token `next_id` in the place of `token_id`; None when the log-in has ended, or is `max_days` old.

    The previous token is accepted for GRACE and leads to the same `next_id`. An older one has been stolen, or its
    successor has: the log-in is revoked.
    """
    row = tx.execute(_SQL["lock"], {"id": login_id, "max_days": max_days}).fetchone()
    if row is None:
        return None
    presented = _digest(token_id)
    if presented == row["refresh_hash"]:
        values = {"refresh_hash": _digest(next_id), "grace": GRACE, "ttl": LOGIN_TTL, "max_days": max_days}
        tx.execute(_SQL["rotate"], {"id": login_id, **values})
        result = Refresh.ROTATED
    elif presented == row["previous_hash"] and row["in_grace"]:
        result = Refresh.REPEATED
    else:
        revoke(tx, login_id)
        result = Refresh.REUSED
    return Refreshed(result, row["username"], row["role"])


def revoke(tx: Transaction, login_id: UUID) -> None:
    """Ends one log-in; its access tokens follow within seconds."""
    tx.execute(_SQL["revoke"], {"id": login_id})


def revoke_all(tx: Transaction, user_id: UUID, *, but: UUID | None = None) -> list[UUID]:
    """Ends all log-ins of a user, or all others; returns which."""
    rows = tx.execute(_SQL["revoke_others"], {"user_id": user_id, "except_id": but}).fetchall()
    return [row["id"] for row in rows]


def of_user(tx: Transaction, user_id: UUID) -> list[Login]:
    """The log-ins of a user that have not ended, the last seen first."""
    with tx.cursor(row_factory=row_of(Login)) as cursor:
        return cursor.execute(_SQL["of_user"], {"user_id": user_id}).fetchall()


def revoke_own(tx: Transaction, user_id: UUID, login_id: UUID) -> None:
    """Ends one of a user's own log-ins; raises NotFound when it is not theirs or has ended."""
    if not tx.execute(_SQL["revoke_own"], {"id": login_id, "user_id": user_id}).rowcount:
        raise NotFound("there is no such log-in, or it has ended")


def lock_seats(tx: Transaction) -> None:
    """Holds off other log-ins until this transaction ends, so that two of them cannot take the last seat."""
    tx.execute(_SQL["lock_seats"])


def holding_seats(tx: Transaction) -> list[SeatLogin]:
    """The terminal log-ins seen within SEAT_IDLE; each user among them takes one seat."""
    rows = tx.execute(_SQL["seat_logins"], {"idle": SEAT_IDLE}).fetchall()
    return [SeatLogin(row["user_id"], row["user_email"], row["created_at"], row["last_seen_at"]) for row in rows]


def _digest(token_id: str) -> bytes:
    return hashlib.sha256(token_id.encode()).digest()
