"""The vault: secrets are encrypted before they are stored, and decrypted for a log-in, a call or an audited reveal."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from netstacks import greenlets
from netstacks.crypto.sealing import SealingKey
from netstacks.errors import NetstacksError, NotFound, VaultLocked
from netstacks.store import audit
from netstacks.store.pool import Database, Transaction
from netstacks.store.queries import load

_SQL = load("vault")
_CANARY = "netstacks"


@dataclass(frozen=True)
class KeyStatus:
    """A key in the database; `held` says whether this program was started with its master key."""

    key_id: str
    is_current: bool
    held: bool
    secrets: int
    created_at: datetime


class Vault:
    """Encrypts with the database's current key, and decrypts with the key that a value was encrypted with.

    The database determines the current key, not the instance: with a next and a previous master key, an instance
    encrypts with the previous one until `rotate` has made the next one current.
    """

    def __init__(self, database: Database, master_key_hex: str, previous_key_hex: str | None = None) -> None:
        self._database = database
        self._own = SealingKey(master_key_hex)
        previous = [SealingKey(previous_key_hex)] if previous_key_hex else []
        self._keys = {key.id: key for key in [self._own, *previous]}

    @property
    def key_ids(self) -> list[str]:
        """Fingerprints of this instance's keys, that of the master key first."""
        return list(self._keys)

    def unlock(self) -> None:
        """Verifies the canary of the database's current key, or makes ours the current key of an empty database.

        Cheap, and safe with several instances at once. Raises VaultLocked when this instance does not have the current
        key: then nothing can be encrypted. Raises StoreUnavailable when PostgreSQL does not answer.
        """
        with self._database.transaction() as tx:
            if tx.execute(_SQL["current"]).fetchone() is None:
                tx.execute(_SQL["create_first"], {"key_id": self._own.id, "canary": _canary(self._own)})
            self._current(tx)

    def seal(self, tx: Transaction, holder_id: UUID, field: str, text: str) -> None:
        """Encrypts `text` into the field of a credential or provider, replacing its value. Raises VaultLocked."""
        tx.execute(_SQL["lock_current"])
        _put(tx, self._current(tx), holder_id, field, text)

    def open(self, tx: Transaction, holder_id: UUID, field: str) -> str:
        """The decrypted field. Raises VaultLocked when this instance does not have its key, NotFound when unset."""
        row = tx.execute(_SQL["get"], {"credential_id": holder_id, "field": field}).fetchone()
        if row is None:
            raise NotFound(f"no {field} is stored")
        return self.open_row(row["key_id"], row["sealed"], holder_id, field)

    def open_row(self, key_id: str, sealed: bytes, holder_id: UUID, field: str) -> str:
        """The decrypted value of a row of `vault_secrets`. Raises VaultLocked as `open` does."""
        return self._key(key_id).open(sealed, _place(holder_id, field))

    def open_all(self) -> int:
        """Decrypts every stored value, and returns their number. Raises an error that names the first that does not."""
        with self._database.transaction(timeout_secs=None) as tx:
            self._current(tx)
            rows = tx.execute(_SQL["all"]).fetchall()
        for row in rows:
            self.open_row(row["key_id"], row["sealed"], row["credential_id"], row["field"])
        return len(rows)

    def remove(self, tx: Transaction, holder_id: UUID, field: str) -> None:
        """Deletes the field, if it is set."""
        tx.execute(_SQL["remove"], {"credential_id": holder_id, "field": field})

    def status(self) -> list[KeyStatus]:
        """Every key in the database, oldest first."""
        with self._database.transaction() as tx:
            return [KeyStatus(held=row["key_id"] in self._keys, **row) for row in tx.execute(_SQL["status"])]

    def rotate(
        self,
        actor: audit.Actor,
        *,
        batch: int = 200,
        progress: Callable[[int], None] = lambda _: None,
        unreadable: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Makes the master key the current one, re-encrypts all values with it, and returns their number.

        It can be killed at any point and run again. An instance with both keys can decrypt every value at any time
        (docs/vault.md). `progress` is called after each batch with the number of values so far, `unreadable` for each
        value that does not decrypt and remains unchanged. Raises VaultLocked when the current key is neither the master
        key nor the previous one.
        """
        self._make_current(actor)
        resealed = 0
        damaged: dict[tuple[UUID, str], str] = {}
        while self._left(damaged):
            done, found = self._reseal(batch, damaged)
            for problem in found.values():
                unreadable(problem)
            damaged |= found
            resealed += done
            progress(resealed)
            if not done and not found:
                # The remaining rows are locked by transactions that replace or delete them.
                greenlets.sleep(0.1)
        with self._database.transaction() as tx:
            tx.execute(_SQL["drop_retired"])
            audit.append(tx, actor, "vault.rotated", f"vault:{self._own.id}", secrets=resealed, unreadable=len(damaged))
        return resealed

    def _make_current(self, actor: audit.Actor) -> None:
        with self._database.transaction() as tx:
            tx.execute(_SQL["lock_all"])
            old = self._current(tx)
            if old.id != self._own.id:
                tx.execute(_SQL["retire_current"])
                tx.execute(_SQL["make_current"], {"key_id": self._own.id, "canary": _canary(self._own)})
                audit.append(tx, actor, "vault.key_changed", f"vault:{self._own.id}", previous=old.id)

    def _left(self, damaged: Collection[tuple[UUID, str]]) -> bool:
        with self._database.transaction() as tx:
            return tx.execute(_SQL["any_sealed_otherwise"], self._but(damaged)).fetchone() is not None

    def _reseal(self, batch: int, damaged: Collection[tuple[UUID, str]]) -> tuple[int, dict[tuple[UUID, str], str]]:
        """The number of re-encrypted values, and the problems of the others."""
        found: dict[tuple[UUID, str], str] = {}
        with self._database.transaction() as tx:
            rows = tx.execute(_SQL["sealed_otherwise"], {**self._but(damaged), "limit": batch}).fetchall()
            for row in rows:
                holder_id, field = row["credential_id"], row["field"]
                try:
                    text = self._key(row["key_id"]).open(row["sealed"], _place(holder_id, field))
                except VaultLocked:
                    raise
                except NetstacksError as error:
                    found[holder_id, field] = str(error)
                else:
                    _put(tx, self._own, holder_id, field, text)
        return len(rows) - len(found), found

    def _but(self, damaged: Collection[tuple[UUID, str]]) -> dict[str, object]:
        ids, fields = [holder_id for holder_id, _ in damaged], [field for _, field in damaged]
        return {"key_id": self._own.id, "holder_ids": ids, "fields": fields}

    def _current(self, tx: Transaction) -> SealingKey:
        row = tx.execute(_SQL["current"]).fetchone()
        if row is None:
            raise VaultLocked("the vault has no key yet: it gets one when an instance starts")
        key = self._key(row["key_id"])
        try:
            key.open(row["canary"], _canary_place(key))
        except NetstacksError as error:
            raise VaultLocked(f"the canary of the vault key {key.id} does not decrypt: restore the table") from error
        return key

    def _key(self, key_id: str) -> SealingKey:
        if key_id not in self._keys:
            held = " and ".join(self._keys)
            raise VaultLocked(f"sealed with the vault key {key_id}; VAULT_MASTER_KEY is another one ({held})")
        return self._keys[key_id]


def _place(holder_id: UUID, field: str) -> str:
    return f"vault_secrets/{holder_id}/{field}"


def _canary_place(key: SealingKey) -> str:
    return f"vault_keys/{key.id}"


def _canary(key: SealingKey) -> bytes:
    return key.seal(_CANARY, _canary_place(key))


def _put(tx: Transaction, key: SealingKey, holder_id: UUID, field: str, text: str) -> None:
    sealed = key.seal(text, _place(holder_id, field))
    tx.execute(_SQL["put"], {"credential_id": holder_id, "field": field, "key_id": key.id, "sealed": sealed})
