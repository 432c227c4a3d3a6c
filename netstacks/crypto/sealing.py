"""AES-256-GCM with a key made for the vault: the cryptography of the vault, without its storage."""

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from netstacks.errors import NetstacksError

# The purpose is part of the derivation: another use of the same master key gets another key.
_PURPOSE = b"netstacks vault secrets, version 1"
_NONCE_BYTES = 12


class SealingKey:
    """The key derived from one master key (64 hex digits); `id` tells keys apart and reveals nothing of them."""

    def __init__(self, master_key_hex: str) -> None:
        key = HKDF(hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(bytes.fromhex(master_key_hex))
        self.id = hashlib.sha256(key).hexdigest()[:16]
        self._cipher = AESGCM(key)

    def seal(self, text: str, place: str) -> bytes:
        """Encrypts under a fresh nonce; what comes out opens at `place` only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), self._bound(place))

    def open(self, sealed: bytes, place: str) -> str:
        """Raises NetstacksError when the value was altered, was sealed for another place, or by another key."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound(place)).decode()
        except (InvalidTag, ValueError) as error:
            raise NetstacksError(f"the sealed value at {place} was altered or moved: store it anew") from error

    def _bound(self, place: str) -> bytes:
        return f"{place}/{self.id}".encode()
