"""The encryption of the vault: AES-256-GCM with a key derived by HKDF (RFC 5869)."""

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
    """The key derived from a master key of 64 hex digits; `id` is its fingerprint, which does not reveal it."""

    def __init__(self, master_key_hex: str) -> None:
        key = HKDF(hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(bytes.fromhex(master_key_hex))
        self.id = hashlib.sha256(key).hexdigest()[:16]
        self._cipher = AESGCM(key)

    def seal(self, text: str, place: str) -> bytes:
        """Encrypts with a fresh nonce. `place` is authenticated: the result decrypts only with the same `place`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), self._bound(place))

    def open(self, sealed: bytes, place: str) -> str:
        """Decrypts. Raises NetstacksError when the value was altered, or encrypted for another place or key."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound(place)).decode()
        except (InvalidTag, ValueError) as error:
            raise NetstacksError(f"the sealed value at {place} was altered or moved: store it again") from error

    def _bound(self, place: str) -> bytes:
        return f"{place}/{self.id}".encode()
