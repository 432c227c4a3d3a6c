"""Private SSH keys: checked and decrypted when they are saved.

Decrypting a key takes a tenth of a second and more, on purpose, and would hold up every terminal of an instance at
each log-in to a device. So it is done once, here, and the vault keeps the open key under its own seal.
"""

import binascii
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from netstacks import greenlets
from netstacks.errors import InvalidInput

MAX_CHARS = 16384

_WANTED = "secret: must be a private key of OpenSSH or PEM format, of type Ed25519, ECDSA or RSA"
_KINDS = (ed25519.Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\n([^-]+(?:-[^-]+)*)\n-----END \1-----\n")

# Whoever made a key chose how much work it is to decrypt: where that number stands, and how large it may be.
# OpenSSH (its PROTOCOL.key): bcrypt, or nothing. PKCS #8 (RFC 8018): PBES2 with PBKDF2.
_OPENSSH = re.compile(
    rb"openssh-key-v1\0(?:\0\0\0\x04none\0\0\0\x04none|.{4}[a-z0-9@.-]+\0\0\0\x06bcrypt\0\0\0.\0\0\0\x10.{16}(.{4}))",
    re.DOTALL,
)
_PKCS8 = re.compile(
    rb"\x30(?:.|\x81.|\x82..)\x30.\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"
    rb"\x30.\x30.\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c\x30.\x04(?:\x08.{8}|\x10.{16})"
    rb"\x02(?:\x01(.)|\x02(..)|\x03(...))",
    re.DOTALL,
)
_WORK = {"OPENSSH PRIVATE KEY": (_OPENSSH, 256), "ENCRYPTED PRIVATE KEY": (_PKCS8, 1_000_000)}
# As for password hashes: keys may not take all threads.
_turns = greenlets.BoundedSemaphore(2)


def opened_private_key(text: str, passphrase: str | None) -> str:
    """The key without its passphrase; raises InvalidInput unless a device can be logged in to with it."""
    pem = _PEM.fullmatch("\n".join(line.strip() for line in text.strip().splitlines()) + "\n")
    if pem is None or len(text) > MAX_CHARS:
        raise InvalidInput(f"{_WANTED}{_what_it_is(text)}")
    label, body = pem.groups()
    if label in _WORK:
        _check_work(label, body)
    with _turns:
        return greenlets.in_thread(_opened, pem[0], label, passphrase)


def _check_work(label: str, body: str) -> None:
    pattern, limit = _WORK[label]
    try:
        found = pattern.match(binascii.a2b_base64(body.replace("\n", ""), strict_mode=True))
    except binascii.Error as error:
        raise InvalidInput(_WANTED) from error
    if found is None or (found.lastindex and int.from_bytes(found[found.lastindex]) > limit):
        raise InvalidInput("secret: is encrypted in an unusual way; write it anew with `ssh-keygen -p`")


def _opened(pem: str, label: str, passphrase: str | None) -> str:
    load = load_ssh_private_key if label == "OPENSSH PRIVATE KEY" else load_pem_private_key
    try:
        # Validating a large RSA key would stop the whole process for seconds; a damaged one does not parse.
        key = load(pem.encode(), passphrase.encode() if passphrase else None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        # How cryptography tells that a passphrase is missing, or that there is nothing to decrypt with it.
        wrong = "leave it out, the private key is not encrypted" if passphrase else "is missing for this private key"
        raise InvalidInput(f"passphrase: {wrong}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase:
            raise InvalidInput("passphrase: does not open this private key, or the key is damaged") from error
        raise InvalidInput(_WANTED) from error
    if not isinstance(key, _KINDS):
        raise InvalidInput(_WANTED)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _what_it_is(text: str) -> str:
    if text.lstrip().startswith(("ssh-", "ecdsa-")):
        return "; this is a public key"
    if text.lstrip().startswith("PuTTY-User-Key-File"):
        return "; this is PuTTY's own: export it from puttygen as an OpenSSH key"
    return ""
