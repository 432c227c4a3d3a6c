"""Private SSH keys: validated and decrypted once, when they are saved.

Decryption with a passphrase is slow by design, 0.1 s and more, and would block the event loop at each log-in to a
device. So it happens once, here, and the vault stores the decrypted key under its own encryption.
"""

import re

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from netstacks import greenlets
from netstacks.crypto import key_files
from netstacks.crypto.key_files import WANTED, KeyFile
from netstacks.errors import InvalidInput

_OPENSSH_LABEL = "OPENSSH PRIVATE KEY"
# The curves and key types of RFC 5656 and RFC 8332 that OpenSSH and libssh support.
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MIN_RSA_BITS = 1024

# The creator of a key chooses the cost of decryption. These patterns find its number in the file, before any work is
# done, and `_WORK` limits it. OpenSSH (PROTOCOL.key): bcrypt or no encryption.
_OPENSSH = re.compile(
    rb"openssh-key-v1\0(?:\0\0\0\x04none\0\0\0\x04none|.{4}[a-z0-9@.-]+\0\0\0\x06bcrypt\0\0\0.\0\0\0\x10.{16}(.{4}))",
    re.DOTALL,
)
# The type of an OpenSSH key, in the unencrypted public part.
_OPENSSH_TYPE = re.compile(
    rb"openssh-key-v1\0.{4}[a-z0-9@.-]+.{4}[a-z]+(?:\0\0\0\0|\0\0\0\x18.{24})\0\0\0\x01.{4}\0\0\0.([a-z0-9@.-]+)",
    re.DOTALL,
)
# PKCS #8 (RFC 8018): PBES2 with PBKDF2, or with scrypt (RFC 7914) at the usual r = 8 and p = 1; and the older PKCS #12
# scheme of SHA-1 with triple DES.
_DER_HEAD = rb"\x30(?:.|\x81.|\x82..)\x30."
_DER_PBES2 = _DER_HEAD + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d\x30.\x30."
_DER_NUMBER = rb"\x30.\x04(?:\x08.{8}|\x10.{16})\x02(?:\x01(.)|\x02(..)|\x03(...))"
_PBKDF2 = re.compile(_DER_PBES2 + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c" + _DER_NUMBER, re.DOTALL)
_SCRYPT = re.compile(
    _DER_PBES2 + rb"\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x04\x0b" + _DER_NUMBER + rb"\x02\x01\x08\x02\x01\x01",
    re.DOTALL,
)
_TRIPLE_DES = re.compile(_DER_HEAD + rb"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03" + _DER_NUMBER, re.DOTALL)
_WORK = {
    _OPENSSH_LABEL: ((_OPENSSH, 256),),
    "ENCRYPTED PRIVATE KEY": ((_PBKDF2, 1_000_000), (_SCRYPT, 65536), (_TRIPLE_DES, 1_000_000)),
}
_UNUSUAL = "secret: is encrypted in an unsupported way; rewrite it with `ssh-keygen -p -f KEYFILE`"
# As for password hashes: keys must not occupy all threads.
_turns = greenlets.BoundedSemaphore(2)


def opened_private_key(text: str, passphrase: str | None) -> str:
    """The decrypted private key in `text`, in OpenSSH's format, which libssh reads for every key type.

    Raises InvalidInput, with a text for the user, when the key cannot be used for SSH.
    """
    file = key_files.find(text)
    _check_type_named(file)
    _check_work(file)
    with _turns:
        return greenlets.in_thread(_opened, file, passphrase)


def readable_private_key(stored: str) -> str:
    """A key from the vault in the format that libssh reads. The first version of this program stored keys unconverted.

    Raises InvalidInput for a key that must be stored again.
    """
    file = key_files.find(stored)
    found = _OPENSSH.match(file.content)
    return file.pem if found and not found.lastindex else opened_private_key(stored, None)


def _check_type_named(file: KeyFile) -> None:
    """Refuses the key types that `cryptography` does not load, or has deprecated."""
    named = _OPENSSH_TYPE.match(file.content)
    key_type = named[1] if named else b""
    if key_type.startswith(b"sk-"):
        raise InvalidInput("secret: this key works only with its hardware token, which a controller cannot use")
    if key_type == b"ssh-dss" or file.label == "DSA PRIVATE KEY":
        raise _is_dsa()


def _check_work(file: KeyFile) -> None:
    if file.label not in _WORK:
        return
    for pattern, limit in _WORK[file.label]:
        found = pattern.match(file.content)
        if found and (not found.lastindex or int.from_bytes(found[found.lastindex]) <= limit):
            return
    raise InvalidInput(_UNUSUAL)


def _opened(file: KeyFile, passphrase: str | None) -> str:
    load = load_ssh_private_key if file.label == _OPENSSH_LABEL else load_pem_private_key
    try:
        # Validating a large RSA key would hold the GIL for seconds; a damaged key does not parse anyway.
        key = load(file.pem.encode(), passphrase.encode() if passphrase else None, unsafe_skip_rsa_key_validation=True)
    except TypeError as error:
        # `cryptography` raises it for a missing passphrase, and for one where the key is not encrypted.
        wrong = "leave it out, the private key is not encrypted" if passphrase else "is missing for this private key"
        raise InvalidInput(f"passphrase: {wrong}") from error
    except (ValueError, UnsupportedAlgorithm, InvalidTag) as error:
        # For a traditional PEM key, only the text distinguishes an unknown cipher from a wrong passphrase.
        if passphrase and (isinstance(error, UnsupportedAlgorithm) or "unknown cipher" in str(error)):
            raise InvalidInput(_UNUSUAL) from error
        if passphrase:
            raise InvalidInput("passphrase: does not open this private key, or the key is damaged") from error
        raise InvalidInput(WANTED) from error
    _check_type(key)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def _check_type(key: PrivateKeyTypes) -> None:
    match key:
        case ed25519.Ed25519PrivateKey():
            pass
        case ec.EllipticCurvePrivateKey() if key.curve.name not in _CURVES:
            raise InvalidInput(
                f"secret: SSH does not use the curve {key.curve.name}, only nistp256, nistp384 and nistp521"
            )
        case rsa.RSAPrivateKey() if key.key_size < _MIN_RSA_BITS:
            raise InvalidInput(
                f"secret: is an RSA key of {key.key_size} bits, SSH requires {_MIN_RSA_BITS} or more: create a new one"
            )
        case ec.EllipticCurvePrivateKey() | rsa.RSAPrivateKey():
            pass
        case dsa.DSAPrivateKey():
            raise _is_dsa()
        case _:
            raise InvalidInput(WANTED)


def _is_dsa() -> InvalidInput:
    return InvalidInput(
        "secret: is a DSA key, which SSH no longer supports: create one with `ssh-keygen -t rsa -b 3072`, which old"
        " devices accept too"
    )
