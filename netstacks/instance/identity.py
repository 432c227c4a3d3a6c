"""Who this instance is, and whether it holds the secrets that its cluster holds."""

import hmac
import re
import secrets
from collections.abc import Iterable

_PAIR = re.compile(r"vault:\S+ jwt:\S+")


def new_instance_id(prefix: str = "ctrl") -> str:
    """A name that no process has had before, such as `ctrl-a1b2c3d4`. To be made after the fork."""
    return f"{prefix}-{secrets.token_hex(4)}"


def secrets_fingerprint(vault_master_keys: Iterable[bytes], jwt_secret: str) -> str:
    """Tells instances with other secrets apart and reveals none: for each master key a pair such as `vault:1a jwt:2b`.

    Both parts are keyed by the vault's key, which is random, so that a weak JWT secret cannot be guessed from its own.
    """
    return ", ".join(_pair(key, jwt_secret) for key in vault_master_keys)


def _pair(vault_master_key: bytes, jwt_secret: str) -> str:
    parts = {"vault": b"", "jwt": jwt_secret.encode()}
    return " ".join(
        f"{name}:{hmac.digest(vault_master_key, b'netstacks fingerprint ' + name.encode() + value, 'sha256')[:8].hex()}"
        for name, value in parts.items()
    )


def differing_secrets(mine: str, accepted: Iterable[str]) -> tuple[str, ...]:
    """The settings by which `mine` differs from every fingerprint that the cluster accepts; none when it has none.

    While the master key changes, instances have two: one in common is enough. Where VAULT_MASTER_KEY differs, nothing
    can be said about JWT_SECRET.
    """
    own = set(mine.split(", "))
    # What is no fingerprint says nothing.
    known = {pair for fingerprint in accepted for pair in fingerprint.split(", ") if _PAIR.fullmatch(pair)}
    if not known or own & known:
        return ()
    return ("JWT_SECRET",) if _vaults(own) & _vaults(known) else ("VAULT_MASTER_KEY",)


def _vaults(pairs: Iterable[str]) -> set[str]:
    return {pair.split()[0] for pair in pairs}
