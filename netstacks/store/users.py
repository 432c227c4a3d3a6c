"""Users: their rows, the rule that one active administrator must remain, and the first administrator."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from netstacks import permissions
from netstacks.crypto import password_rules
from netstacks.crypto.passwords import hash_password
from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.store import audit, roles, system_settings, versions
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

_SQL = load("users")

# Without `>`, `?` and `~`, which would make a token's claims unreadable to the web client (docs/protocol.md, 3.1).
_USERNAME = re.compile(r"[\w.@+-]{1,64}")


@dataclass(frozen=True)
class User:
    """A local user; never carries the password hash. `permissions` are those of the role.

    `version` counts the changes of the profile, `updated_by` names the user of the last change.
    """

    id: UUID
    username: str
    email: str | None
    display_name: str | None
    role: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None
    version: int
    updated_by: str | None
    permissions: tuple[str, ...] = ()
    auth_provider: str = "local"
    """`oidc` for a user whom single sign-on has created: without a password."""


def create(
    tx: Transaction,
    *,
    username: str,
    password_hash: str,
    role: str,
    email: str | None = None,
    display_name: str | None = None,
    is_password_long: bool = True,
) -> User:
    """Adds a user; raises Conflict when the name or e-mail address is taken, also as the other of the two.

    Raises InvalidInput for an invalid name, and for an unknown role. `is_password_long`: whether the password has the
    minimum length of an administrator's.
    """
    roles.check_known(tx, [role])
    if not is_password_long and roles.role_named(tx, role).is_administrator:
        raise InvalidInput(f"password: an administrator's has {_administrators_length(tx)} characters or more")
    if not _USERNAME.fullmatch(username):
        raise InvalidInput("username: must be 1 to 64 letters, digits or any of . _ - + @")
    user_id = uuid4()
    _check_log_in_names(tx, user_id, username, email)
    values = {
        "id": user_id,
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
    return [_user(row) for row in tx.execute(_SQL["all"]).fetchall()]


def get(tx: Transaction, user_id: UUID) -> User:
    """Raises NotFound."""
    return _one(tx, "get", {"id": user_id})


def by_login_name(tx: Transaction, name: str) -> tuple[User, str] | None:
    """The user with this name, or else with this e-mail address, and the password hash."""
    row = tx.execute(_SQL["by_login_name"], {"name": name}).fetchone()
    if row is None:
        return None
    password_hash = row.pop("password_hash")
    return _user(row), password_hash


def password_hash_of(tx: Transaction, user_id: UUID) -> str | None:
    row = tx.execute(_SQL["password_hash"], {"id": user_id}).fetchone()
    return row["password_hash"] if row else None


def update(
    tx: Transaction,
    user_id: UUID,
    *,
    email: str | None,
    display_name: str | None,
    role: str,
    is_active: bool,
    by: str,
    seen: int | None = None,
) -> User:
    """Replaces the mutable columns of a user. Raises NotFound, and ChangedMeanwhile as `versions.check` does.

    Raises InvalidInput for an unknown role, Conflict when no active administrator would remain, a new administrator's
    password is too short, or a new e-mail address is the user name of another user.
    """
    old = get(tx, user_id)
    versions.check(f"the user {old.username}", old.version, old.updated_by, seen=seen)
    roles.check_known(tx, [role])
    is_administrator = roles.role_named(tx, role).is_administrator
    if not is_administrator or not is_active:
        _keep_an_administrator(tx, user_id)
    if is_administrator and tx.execute(_SQL["lock_short_password"], {"id": user_id}).fetchone():
        raise Conflict(
            "this user's password is too short for an administrator: set one of"
            f" {_administrators_length(tx)} characters or more first"
        )
    # An address from before this check can stay: each change of its user would be refused, a deactivation too.
    if email is not None and email != old.email:
        _check_log_in_names(tx, user_id, None, email)
    values = {
        "id": user_id,
        "email": email,
        "display_name": display_name,
        "role": role,
        "is_active": is_active,
        "by": by,
    }
    return _one(tx, "update", values)


def set_password(tx: Transaction, user_id: UUID, password_hash: str, *, is_long: bool = True) -> None:
    """Raises Conflict when the user has become an administrator, for whom the password is too short.

    Raises Conflict for a user of single sign-on, too.
    """
    if tx.execute(_SQL["lock_external"], {"id": user_id}).fetchone() is not None:
        raise Conflict("this user logs in by single sign-on and has no password")
    values = {"id": user_id, "password_hash": password_hash, "is_long": is_long}
    if not tx.execute(_SQL["set_password"], values).rowcount:
        raise Conflict("the user was deleted or made an administrator meanwhile: reload and try again")


def note_login(tx: Transaction, user_id: UUID, password_hash: str) -> str | None:
    """Records a log-in and returns the role; None when the user is inactive, or the password has changed meanwhile.

    The row stays locked until the transaction ends.
    """
    row = tx.execute(_SQL["note_login"], {"id": user_id, "password_hash": password_hash}).fetchone()
    return row["role"] if row else None


def delete(tx: Transaction, user_id: UUID, *, seen: int | None = None) -> None:
    """Removes a user with all log-ins and personal credentials.

    Raises NotFound, Conflict for the last administrator, and ChangedMeanwhile as `versions.check` does.
    """
    user = get(tx, user_id)
    versions.check(f"the user {user.username}", user.version, user.updated_by, seen=seen)
    _keep_an_administrator(tx, user_id)
    tx.execute(_SQL["delete"], {"id": user_id})


def password_role(role: permissions.Role) -> str:
    """The built-in role whose rules for passwords apply to users of `role`: crypto/password_rules.py."""
    return "admin" if role.is_administrator else "operator"


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
    if _active_administrators(tx) == {user_id}:
        raise Conflict("this is the last active administrator who can log in: make another user one first")


def require_an_administrator(tx: Transaction) -> None:
    """To be called after a change by which administrators may have become unable to log in.

    The transaction calls `access.lock_administration` before it locks anything else. Raises Conflict when no active
    user who can log in has all permissions: one with a password, or one of an enabled identity provider.
    """
    if not _active_administrators(tx):
        raise Conflict(
            "no active user would have all permissions and a way to log in: give the role admin first to another user,"
            " one with a password or of another identity provider that is enabled"
        )


def check_administrators(tx: Transaction) -> None:
    """To be called after a change of a role.

    Raises Conflict as `require_an_administrator` does, and also if the password of a user with all permissions is too
    short for an administrator.
    """
    require_an_administrator(tx)
    row = tx.execute(_SQL["short_administrator"]).fetchone()
    if row is not None:
        raise Conflict(
            f"the password of {row['username']} is too short for an administrator: set one of"
            f" {_administrators_length(tx)} characters or more first"
        )


def _active_administrators(tx: Transaction) -> set[UUID]:
    """Those who can log in. The rows stay locked: two administrators must not remove each other at the same time."""
    return {row["id"] for row in tx.execute(_SQL["lock_active_admins"]).fetchall()}


def _administrators_length(tx: Transaction) -> int:
    """The minimum length of an administrator's password."""
    return system_settings.password_lengths(tx).of_role("admin")


def _check_log_in_names(tx: Transaction, user_id: UUID, username: str | None, email: str | None) -> None:
    """Raises Conflict when another user logs in with one of these texts.

    A log-in takes either, the name first: a user named like the address of another one would keep that one out.
    """
    values = {"id": user_id, "username": username, "email": email}
    row = tx.execute(_SQL["other_with_log_in_name"], values).fetchone()
    if row is not None:
        member, what = ("username", "e-mail address") if row["is_email"] else ("email", "user name")
        raise Conflict(f"{member}: is the {what} of another user, with which that user logs in")


def _one(tx: Transaction, query: str, values: dict[str, Any]) -> User:
    row = tx.execute(_SQL[query], values).fetchone()
    if row is None:
        raise NotFound("no such user")
    return _user(row)


def _user(row: dict[str, Any]) -> User:
    return User(**row | {"permissions": tuple(each for each in row["permissions"] if isinstance(each, str))})
