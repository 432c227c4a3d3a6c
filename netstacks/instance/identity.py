"""The identity of this instance: its id, and a fingerprint of its secrets to compare with the cluster's."""

import hmac
import re
import secrets
from collections.abc import Iterable, Sequence

_PAIR = re.compile(r"vault:\S+ jwt:\S+")


def new_instance_id(prefix: str = "ctrl") -> str:
    """A new, random id such as `ctrl-a1b2c3d4`; call it after the fork, so that each worker has its own."""
    return f"{prefix}-{secrets.token_hex(4)}"


def secrets_fingerprint(vault_master_keys: Sequence[str | None], jwt_secrets: Sequence[str | None]) -> str:
    """A fingerprint that differs for different secrets and reveals none.

    It has a pair `vault:1a jwt:2b` for each master key (64 hex digits) and each secret; None stands for one that is not
    set. The random master key keys both parts (HMAC-SHA-256), so that a weak JWT secret cannot be guessed from its
    part.
    """
    keys = [bytes.fromhex(each) for each in vault_master_keys if each]
    return ", ".join(_pair(key, secret) for secret in jwt_secrets if secret for key in keys)


def _pair(vault_master_key: bytes, jwt_secret: str) -> str:
    parts = {"vault": b"", "jwt": jwt_secret.encode()}
    return " ".join(
        f"{name}:{hmac.digest(vault_master_key, b'netstacks fingerprint ' + name.encode() + value, 'sha256')[:8].hex()}"
        for name, value in parts.items()
    )


def differing_secrets(mine: str, accepted: Iterable[str]) -> tuple[str, ...]:
    """The settings in which `mine` differs from every accepted fingerprint; empty when no fingerprint is accepted yet.

    During a change of a secret, instances have two of them; one pair in common is enough. When VAULT_MASTER_KEY
    differs, JWT_SECRET cannot be compared.
    """
    own = set(mine.split(", "))
    # Malformed fingerprints, as another version may write them, are ignored.
    known = {pair for fingerprint in accepted for pair in fingerprint.split(", ") if _PAIR.fullmatch(pair)}
    if not known or own & known:
        return ()
    return ("JWT_SECRET",) if _vaults(own) & _vaults(known) else ("VAULT_MASTER_KEY",)


def _vaults(pairs: Iterable[str]) -> set[str]:
    return {pair.split()[0] for pair in pairs}
