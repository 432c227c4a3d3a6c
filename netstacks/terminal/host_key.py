"""The public key that a device presents at key exchange (RFC 4253, section 8)."""

from dataclasses import dataclass

from netstacks.store.hostkeys import StoredHostKey, fingerprint_of


@dataclass(frozen=True)
class HostKey:
    """A public key as OpenSSH writes it: its type and the base64 of its blob."""

    key_type: str
    public_key: str

    @property
    def fingerprint(self) -> str:
        """`SHA256:...` as `ssh-keygen -l` prints it."""
        return fingerprint_of(self.public_key)

    def is_stored_as(self, stored: StoredHostKey | None) -> bool:
        return stored is not None and (stored.key_type, stored.public_key) == (self.key_type, self.public_key)
