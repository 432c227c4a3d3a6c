"""Second factors of local users: an authenticator app (TOTP), passkeys, recovery codes; and what may be used once."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from netstacks.errors import Conflict, NotFound
from netstacks.store.loading import LATEST
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of
from netstacks.store.vault import Vault

_SQL = load("second_factors")

MAX_PASSKEYS = 20
_TOTP = "totp"


@dataclass(frozen=True)
class Totp:
    """An authenticator app."""

    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class Passkey:
    """A passkey, which works on sites with the host name `rp_id` only."""

    id: UUID
    user_id: UUID
    name: str
    rp_id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    is_backed_up: bool
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True)
class Held:
    """The factors of one user, and the number of unused recovery codes."""

    totp: Totp | None
    passkeys: Sequence[Passkey]
    recovery_codes: int

    @property
    def is_empty(self) -> bool:
        """Whether there is no factor. Recovery codes alone are none."""
        return self.totp is None and not self.passkeys


def lock(tx: Transaction, user_id: UUID) -> None:
    """Blocks other checks and changes of the user's factors, on every instance, until the transaction ends."""
    tx.execute(_SQL["lock"], {"user_id": user_id})


def of_user(tx: Transaction, user_id: UUID) -> Held:
    with tx.cursor(row_factory=row_of(Totp)) as cursor:
        totp = cursor.execute(_SQL["totp"], {"user_id": user_id}).fetchone()
    return Held(totp, passkeys_of(tx, user_id), recovery_codes_left(tx, user_id))


def must_set_up(tx: Transaction, login_id: UUID) -> bool:
    """Whether this log-in was proven by a password, of a user without a second factor."""
    row = tx.execute(_SQL["must_set_up"], {"login_id": login_id}).fetchone()
    return bool(row and row["has_none"])


def kinds(tx: Transaction, user_ids: Collection[UUID]) -> dict[UUID, list[str]]:
    """The kinds of factors, `totp` and `passkey`, of each of these users."""
    found: dict[UUID, list[str]] = {user_id: [] for user_id in user_ids}
    for row in tx.execute(_SQL["held"], {"user_ids": list(user_ids)}).fetchall():
        found[row["user_id"]].append(row["kind"])
    return found


def kinds_of(tx: Transaction, user_id: UUID) -> list[str]:
    """The kinds of factors of one user; empty when the password is the only one."""
    return kinds(tx, [user_id])[user_id]


def put_totp(tx: Transaction, vault: Vault, user_id: UUID, secret: str, step: int) -> None:
    """Sets the secret of the user's authenticator app; `step` is that of the code that has confirmed it."""
    tx.execute(_SQL["put_totp"], {"user_id": user_id, "step": step})
    vault.seal(tx, user_id, _TOTP, secret)


def totp_secret(tx: Transaction, vault: Vault, user_id: UUID) -> str | None:
    """The secret of the user's authenticator app, None without one. Raises VaultLocked."""
    try:
        return vault.open(tx, user_id, _TOTP)
    except NotFound:
        return None


def spend_step(tx: Transaction, user_id: UUID, step: int) -> bool:
    """Whether no code of this step or a later one was used before; then none can be any more."""
    return tx.execute(_SQL["spend_step"], {"user_id": user_id, "step": step}).rowcount == 1


def remove_totp(tx: Transaction, user_id: UUID) -> None:
    """Raises NotFound when there is none."""
    if not tx.execute(_SQL["remove_totp"], {"user_id": user_id}).rowcount:
        raise NotFound("no authenticator app is set up")


def passkeys_of(tx: Transaction, user_id: UUID) -> list[Passkey]:
    """The passkeys of a user, oldest first."""
    with tx.cursor(row_factory=row_of(Passkey)) as cursor:
        return cursor.execute(_SQL["passkeys"], {"user_id": user_id}).fetchall()


def passkey_by_credential(tx: Transaction, credential_id: bytes) -> Passkey | None:
    """The passkey with this id of its authenticator; its row stays locked until the transaction ends."""
    with tx.cursor(row_factory=row_of(Passkey)) as cursor:
        return cursor.execute(_SQL["passkey_by_credential"], {"credential_id": credential_id}).fetchone()


def add_passkey(
    tx: Transaction,
    user_id: UUID,
    *,
    name: str,
    rp_id: str,
    credential_id: bytes,
    public_key: bytes,
    sign_count: int,
    transports: Sequence[str],
    is_backed_up: bool,
) -> Passkey:
    """Raises Conflict when the passkey is known already, or the user has MAX_PASSKEYS."""
    if len(passkeys_of(tx, user_id)) >= MAX_PASSKEYS:
        raise Conflict(f"a user has at most {MAX_PASSKEYS} passkeys: remove one first")
    values = {
        "id": uuid4(),
        "user_id": user_id,
        "name": name,
        "rp_id": rp_id,
        "credential_id": credential_id,
        "public_key": public_key,
        "sign_count": sign_count,
        "transports": list(transports),
        "is_backed_up": is_backed_up,
    }
    with tx.cursor(row_factory=row_of(Passkey)) as cursor:
        added = cursor.execute(_SQL["add_passkey"], values).fetchone()
    if added is None:
        raise Conflict("this passkey is registered already")
    return added


def note_passkey_use(tx: Transaction, passkey: Passkey, *, sign_count: int, is_backed_up: bool) -> None:
    values = {"id": passkey.id, "sign_count": sign_count, "is_backed_up": is_backed_up}
    tx.execute(_SQL["note_passkey_use"], values)


def rename_passkey(tx: Transaction, user_id: UUID, passkey_id: UUID, name: str) -> Passkey:
    """Raises NotFound."""
    return _changed(tx, "rename_passkey", {"id": passkey_id, "user_id": user_id, "name": name})


def remove_passkey(tx: Transaction, user_id: UUID, passkey_id: UUID) -> Passkey:
    """Raises NotFound."""
    return _changed(tx, "remove_passkey", {"id": passkey_id, "user_id": user_id})


def _changed(tx: Transaction, statement: str, values: dict[str, object]) -> Passkey:
    with tx.cursor(row_factory=row_of(Passkey)) as cursor:
        passkey = cursor.execute(_SQL[statement], values).fetchone()
    if passkey is None:
        raise NotFound("there is no such passkey")
    return passkey


def recovery_codes_left(tx: Transaction, user_id: UUID) -> int:
    row = tx.execute(_SQL["recovery_codes_left"], {"user_id": user_id}).fetchone()
    return int(row["codes"]) if row else 0


def replace_recovery_codes(tx: Transaction, user_id: UUID, hashes: Sequence[bytes]) -> None:
    """Replaces all recovery codes of a user, also the unused ones."""
    tx.execute(_SQL["remove_recovery_codes"], {"user_id": user_id})
    tx.execute(_SQL["add_recovery_codes"], {"user_id": user_id, "hashes": list(hashes)})


def use_recovery_code(tx: Transaction, user_id: UUID, code_hash: bytes) -> bool:
    """Whether this is an unused recovery code of the user; it is used from now on."""
    return tx.execute(_SQL["use_recovery_code"], {"user_id": user_id, "hash": code_hash}).rowcount == 1


def remove_all(tx: Transaction, user_id: UUID) -> None:
    """Removes every factor and every recovery code of a user."""
    for statement in ("remove_totp", "remove_passkeys", "remove_recovery_codes"):
        tx.execute(_SQL[statement], {"user_id": user_id})


def spend(tx: Transaction, text: str, expires_at: float) -> bool:
    """Whether this ticket or challenge was not used before, on any instance. `expires_at` is seconds since 1970."""
    tx.execute(_SQL["forget_expired"])
    until = datetime.fromtimestamp(min(expires_at, LATEST.timestamp()), UTC)
    values = {"hash": hashlib.sha256(text.encode()).digest(), "expires_at": until}
    return tx.execute(_SQL["spend"], values).rowcount == 1
