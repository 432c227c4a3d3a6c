"""Private SSH keys, checked when they are saved rather than when a device refuses them."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from netstacks.errors import InvalidInput

_KINDS = (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)
_WANTED = "secret: must be a private key of OpenSSH or PEM format, of type Ed25519, ECDSA or RSA"


def checked_private_key(text: str, passphrase: str | None) -> str:
    """The key with clean line ends; raises InvalidInput unless it can be used with that passphrase, or without one."""
    key_text = "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"
    if "-----BEGIN" not in key_text:
        raise InvalidInput(f"{_WANTED}{_what_it_is(key_text)}")
    load = load_ssh_private_key if "OPENSSH PRIVATE KEY" in key_text else load_pem_private_key
    try:
        key = load(key_text.encode(), passphrase.encode() if passphrase else None)
    except TypeError as error:
        # How cryptography tells that a passphrase is missing, or that there is nothing to decrypt with it.
        wrong = "is not encrypted: leave it out" if passphrase else "is missing: the private key is encrypted"
        raise InvalidInput(f"passphrase: {wrong}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase:
            raise InvalidInput("passphrase: does not open this private key, or the key is damaged") from error
        raise InvalidInput(_WANTED) from error
    if not isinstance(key, _KINDS):
        raise InvalidInput(_WANTED)
    return key_text


def _what_it_is(text: str) -> str:
    if text.startswith(("ssh-", "ecdsa-")):
        return "; this is a public key"
    if text.startswith("PuTTY-User-Key-File"):
        return "; this is PuTTY's own: export it from puttygen as an OpenSSH key"
    return ""
