"""Trusted SSH host keys: one approved key per address, which authenticates the device."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host, shown_address
from netstacks.permissions import Reach
from netstacks.store.devices import within_of
from netstacks.store.pool import Transaction
from netstacks.store.queries import load, row_of

_SQL = load("hostkeys")


@dataclass(frozen=True)
class StoredHostKey:
    """An approved key; `public_key` is the base64 of its SSH encoding (RFC 4253, section 6.6)."""

    host: str
    port: int
    key_type: str
    public_key: str
    approved_by: str
    approved_at: datetime

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.public_key)


def fingerprint_of(public_key: str) -> str:
    """In OpenSSH's format: `SHA256:` and base64 without padding; `unreadable` for a stored value that is no base64."""
    try:
        blob = base64.b64decode(public_key, validate=True)
    except ValueError:
        return "unreadable"
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse_public_key(text: str) -> tuple[str, str]:
    """Type and base64 of a key in the format of `ssh-keyscan` output or of a `.pub` file; raises InvalidInput."""
    for word in text.split():
        try:
            blob = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            continue
        # The encoding begins with the key's type as an SSH string (RFC 4253, section 6.6).
        key_type = blob[4 : 4 + int.from_bytes(blob[:4])]
        if blob[4:] != key_type and key_type.startswith((b"ssh-", b"ecdsa-", b"sk-")) and key_type.isascii():
            return key_type.decode(), word
    raise InvalidInput("public_key: must be an SSH public key such as `ssh-ed25519 AAAA...` (see ssh-keyscan)")


def find(tx: Transaction, host: str, port: int) -> StoredHostKey | None:
    return _one(tx, "find", host=normal_host(host), port=port)


def list_all(tx: Transaction, *, within: Reach) -> list[StoredHostKey]:
    """The approved keys by address, of a limited reach only those of its devices."""
    with tx.cursor(row_factory=row_of(StoredHostKey)) as cursor:
        return cursor.execute(_SQL["all"], within_of(within)).fetchall()


def remember(tx: Transaction, host: str, port: int, key_type: str, public_key: str, approved_by: str) -> StoredHostKey:
    """Stores the key, replacing any other key of that address."""
    key = _one(
        tx,
        "remember",
        host=normal_host(host),
        port=port,
        key_type=key_type,
        public_key=public_key,
        approved_by=approved_by,
    )
    assert key is not None
    return key


def approve(
    tx: Transaction,
    host: str,
    port: int,
    key_type: str,
    public_key: str,
    approved_by: str,
    former: StoredHostKey | None,
) -> StoredHostKey | None:
    """Replaces `former` by the key (compare-and-set); None when another key is stored by now.

    Without `former`, an approval must not replace a key that was approved meanwhile.
    """
    address = {"host": normal_host(host), "port": port, "approved_by": approved_by}
    key = {"key_type": key_type, "public_key": public_key}
    if former is None:
        return _one(tx, "approve_first", **address, **key)
    return _one(tx, "approve_changed", **address, **key, former_type=former.key_type, former_key=former.public_key)


def delete(tx: Transaction, host: str, port: int, *, within: Reach) -> StoredHostKey:
    """Removes the key, so that the next connection asks for approval. Raises NotFound, also outside the reach."""
    key = _one(tx, "delete", host=normal_host(host), port=port, **within_of(within))
    if key is None:
        raise NotFound(f"no host key is stored for {shown_address(host, port)}")
    return key


def _one(tx: Transaction, statement: str, **parameters: Any) -> StoredHostKey | None:
    with tx.cursor(row_factory=row_of(StoredHostKey)) as cursor:
        return cursor.execute(_SQL[statement], parameters).fetchone()
