"""Users: their rows, the rule that one active administrator must remain, and the first administrator."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from netstacks.crypto import password_rules
from netstacks.crypto.passwords import hash_password
from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.store import audit
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

_SQL = load("users")

Role = Literal["admin", "operator", "viewer"]

# Without `>`, `?` and `~`, which would make a token's claims unreadable to the web client (docs/protocol.md, 3.1).
_USERNAME = re.compile(r"[\w.@+-]{1,64}")


@dataclass(frozen=True)
class User:
    """A local user; never carries the password hash."""

    id: UUID
    username: str
    email: str | None
    display_name: str | None
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None


def create(
    tx: Transaction,
    *,
    username: str,
    password_hash: str,
    role: Role,
    email: str | None = None,
    display_name: str | None = None,
    is_password_long: bool = True,
) -> User:
    """Adds a user; raises InvalidInput for an invalid name, Conflict when the name or e-mail address is taken.

    `is_password_long`: whether the password has the minimum length of an administrator's.
    """
    if not _USERNAME.fullmatch(username):
        raise InvalidInput("username: must be 1 to 64 letters, digits or any of . _ - + @")
    values = {
        "id": uuid4(),
        "username": username,
        "email": email,
        "display_name": display_name,
        "role": role,
        "password_hash": password_hash,
        "is_password_long": is_password_long,
    }
    return _one(tx, "insert", values)


def list_all(tx: Transaction) -> list[User]:
    """All users by name."""
    return [User(**row) for row in tx.execute(_SQL["all"]).fetchall()]


def get(tx: Transaction, user_id: UUID) -> User:
    """Raises NotFound."""
    return _one(tx, "get", {"id": user_id})


def by_login_name(tx: Transaction, name: str) -> tuple[User, str] | None:
    """The user with this name, or else with this e-mail address, and the password hash."""
    row = tx.execute(_SQL["by_login_name"], {"name": name}).fetchone()
    if row is None:
        return None
    password_hash = row.pop("password_hash")
    return User(**row), password_hash


def password_hash_of(tx: Transaction, user_id: UUID) -> str | None:
    row = tx.execute(_SQL["password_hash"], {"id": user_id}).fetchone()
    return row["password_hash"] if row else None


def update(
    tx: Transaction, user_id: UUID, *, email: str | None, display_name: str | None, role: Role, is_active: bool
) -> User:
    """Replaces the mutable columns of a user. Raises NotFound.

    Raises Conflict when no active administrator would remain, or a new administrator's password is too short.
    """
    if role != "admin" or not is_active:
        _keep_an_administrator(tx, user_id)
    if role == "admin" and tx.execute(_SQL["lock_short_password"], {"id": user_id}).fetchone():
        raise Conflict(
            "this user's password is too short for an administrator: set one of"
            f" {password_rules.MIN_ADMIN_LENGTH} characters or more first"
        )
    values = {"id": user_id, "email": email, "display_name": display_name, "role": role, "is_active": is_active}
    return _one(tx, "update", values)


def set_password(tx: Transaction, user_id: UUID, password_hash: str, *, is_long: bool = True) -> None:
    """Raises Conflict when the user has become an administrator, for whom the password is too short."""
    values = {"id": user_id, "password_hash": password_hash, "is_long": is_long}
    if not tx.execute(_SQL["set_password"], values).rowcount:
        raise Conflict("the user was deleted or made an administrator meanwhile: reload and try again")


def note_login(tx: Transaction, user_id: UUID, password_hash: str) -> str | None:
    """Records a log-in and returns the role; None when the user is inactive, or the password has changed meanwhile.

    The row stays locked until the transaction ends.
    """
    row = tx.execute(_SQL["note_login"], {"id": user_id, "password_hash": password_hash}).fetchone()
    return row["role"] if row else None


def delete(tx: Transaction, user_id: UUID) -> None:
    """Removes a user with all log-ins and personal credentials; raises Conflict for the last administrator."""
    _keep_an_administrator(tx, user_id)
    tx.execute(_SQL["delete"], {"id": user_id})


def ensure_administrator(database: Database, username: str, password: str | None) -> str | None:
    """Creates the administrator of an empty database and returns the password, which is generated unless given.

    Returns None when there are users already; safe when several instances start at once. Raises InvalidInput when the
    given password is too weak.
    """
    with database.transaction() as tx:
        if _any_user(tx):
            return None
    if password and (problem := password_rules.problem_of(password, role="admin", names=[username])):
        raise InvalidInput(f"the password for the first administrator, in BOOTSTRAP_ADMIN_PASSWORD, {problem}")
    password = password or secrets.token_urlsafe(12)
    password_hash = hash_password(password)
    with database.transaction() as tx:
        tx.execute(_SQL["lock_table"])
        if _any_user(tx):
            return None
        user = create(tx, username=username, password_hash=password_hash, role="admin")
        audit.append(tx, audit.SYSTEM, "user.created", f"user:{user.id}", username=username, role="admin")
    return password


def _any_user(tx: Transaction) -> bool:
    row = tx.execute(_SQL["any"]).fetchone()
    return bool(row and row["any_user"])


def _keep_an_administrator(tx: Transaction, user_id: UUID) -> None:
    # The rows stay locked, so that two administrators cannot remove each other at the same time.
    admins = {row["id"] for row in tx.execute(_SQL["lock_active_admins"]).fetchall()}
    if admins == {user_id}:
        raise Conflict("this is the last active administrator: make another user one first")


def _one(tx: Transaction, query: str, values: dict[str, Any]) -> User:
    row = tx.execute(_SQL[query], values).fetchone()
    if row is None:
        raise NotFound("no such user")
    return User(**row)
