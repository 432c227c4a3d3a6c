"""Log-ins: one row for each refresh token family or page cookie, which can be revoked."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal
from uuid import UUID, uuid4

from netstacks.errors import NotFound
from netstacks.permissions import Role
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.roles import role_of_row

_SQL = load("logins")

ClientType = Literal["terminal", "admin_ui", "page"]

# How long a log-in is valid after its last refresh, or a page's after its last request.
LOGIN_TTL = timedelta(days=7)
PAGE_TTL = timedelta(hours=12)
# The client may send one refresh token twice at once, and keeps the later answer (docs/protocol.md, 3.2).
GRACE = timedelta(seconds=60)
# Reloads and crashes do not log out. An active client makes a request within the hour that its token is valid.
SEAT_IDLE = timedelta(hours=2)


class Refresh(Enum):
    """The result of a refresh: `REPEATED` for the previous token within GRACE, `REUSED` after it or for older ones."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"


@dataclass(frozen=True)
class Refreshed:
    """The answer to a refresh token, with the user's current name and role."""

    result: Refresh
    username: str
    role: str


@dataclass(frozen=True)
class Login:
    """A log-in as its user sees it."""

    id: UUID
    client_type: ClientType
    address: str | None
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class SeatLogin:
    """A terminal log-in, which occupies a licence seat of its user."""

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
    """Adds a log-in and returns its id; a page's has no refresh token. It ends after `max_days` in any case."""
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


def role(tx: Transaction, login_id: UUID, *, max_days: int) -> Role | None:
    """The current role of a log-in's user, None when the log-in has ended; records the activity.

    Activity extends a page's log-in, until it is `max_days` old.
    """
    row = tx.execute(_SQL["look_up"], {"id": login_id}).fetchone()
    if row is None:
        return None
    if row["seen_long_ago"]:
        tx.execute(_SQL["touch"], {"id": login_id, "page_ttl": PAGE_TTL, "max_days": max_days})
    return role_of_row(row)


def refresh(tx: Transaction, login_id: UUID, *, token_id: str, next_id: str, max_days: int) -> Refreshed | None:
    """Replaces token `token_id` by `next_id`; None when the log-in has ended, or is `max_days` old.

    The previous token is accepted for GRACE and leads to the same `next_id`. An older token shows that it or its
    successor was stolen, and revokes the log-in (RFC 9700, section 4.14).
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
    """Ends one log-in; its access tokens become invalid within seconds."""
    tx.execute(_SQL["revoke"], {"id": login_id})


def revoke_all(tx: Transaction, user_id: UUID, *, but: UUID | None = None) -> list[UUID]:
    """Ends all log-ins of a user, except `but`; returns their ids."""
    rows = tx.execute(_SQL["revoke_others"], {"user_id": user_id, "except_id": but}).fetchall()
    return [row["id"] for row in rows]


def of_user(tx: Transaction, user_id: UUID) -> list[Login]:
    """The log-ins of a user that have not ended, the most recently active first."""
    with tx.cursor(row_factory=row_of(Login)) as cursor:
        return cursor.execute(_SQL["of_user"], {"user_id": user_id}).fetchall()


def revoke_own(tx: Transaction, user_id: UUID, login_id: UUID) -> None:
    """Ends a log-in of this user; raises NotFound when it belongs to another user or has ended."""
    if not tx.execute(_SQL["revoke_own"], {"id": login_id, "user_id": user_id}).rowcount:
        raise NotFound("there is no such log-in, or it has ended")


def lock_seats(tx: Transaction) -> None:
    """Blocks other log-ins until this transaction ends, so that two of them cannot take the last seat."""
    tx.execute(_SQL["lock_seats"])


def holding_seats(tx: Transaction) -> list[SeatLogin]:
    """The users with a terminal log-in that was active within SEAT_IDLE: each of them occupies one seat."""
    rows = tx.execute(_SQL["seat_logins"], {"idle": SEAT_IDLE}).fetchall()
    return [SeatLogin(row["user_id"], row["user_email"], row["created_at"], row["last_seen_at"]) for row in rows]


def _digest(token_id: str) -> bytes:
    return hashlib.sha256(token_id.encode()).digest()
