"""Who this instance is, and whether it holds the secrets that its cluster holds."""

import hmac
import secrets
from collections.abc import Iterable


def new_instance_id(prefix: str = "ctrl") -> str:
    """A name that no process has had before, such as `ctrl-a1b2c3d4`. To be made after the fork."""
    return f"{prefix}-{secrets.token_hex(4)}"


def secrets_fingerprint(vault_master_key: bytes, jwt_secret: str) -> str:
    """Tells instances with other secrets apart and reveals none.

    Both parts are keyed by the vault's key, which is random, so that a weak JWT secret cannot be guessed from its own.
    """
    parts = {"vault": b"", "jwt": jwt_secret.encode()}
    return " ".join(
        f"{name}:{hmac.digest(vault_master_key, b'netstacks fingerprint ' + name.encode() + value, 'sha256')[:8].hex()}"
        for name, value in parts.items()
    )


def differing_secrets(mine: str, accepted: Iterable[str]) -> tuple[str, ...]:
    """The settings by which `mine` differs from every fingerprint that the cluster accepts; none when it has none.

    Where VAULT_MASTER_KEY differs, nothing can be said about JWT_SECRET.
    """
    known = set(accepted)
    if not known or mine in known:
        return ()
    same_vault = mine.split()[0] in {each.split()[0] for each in known}
    return ("JWT_SECRET",) if same_vault else ("VAULT_MASTER_KEY",)
