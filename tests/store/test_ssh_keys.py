"""Private keys: the formats and types that devices accept are taken, everything else is refused in plain words."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from netstacks.errors import InvalidInput
from netstacks.store.ssh_keys import checked_private_key

ED25519 = ed25519.Ed25519PrivateKey.generate()
ECDSA = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def written(key: object, format: PrivateFormat, passphrase: str | None = None) -> str:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, format, encryption).decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", [ED25519, ECDSA, RSA], ids=["Ed25519", "ECDSA", "RSA"])
@pytest.mark.parametrize("format", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["OpenSSH", "PKCS8"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"], ids=["plain", "encrypted"])
def test_supported_keys_are_taken_as_they_are(key: object, format: PrivateFormat, passphrase: str | None) -> None:
    text = written(key, format, passphrase)
    assert checked_private_key(text, passphrase) == text


@pytest.mark.parametrize("key", [ECDSA, RSA], ids=["ECDSA", "RSA"])
def test_traditional_pem_is_taken(key: object) -> None:
    text = written(key, PrivateFormat.TraditionalOpenSSL, "open sesame")
    assert checked_private_key(text, "open sesame") == text


def test_what_pasting_does_to_a_key_is_undone() -> None:
    text = written(ED25519, PrivateFormat.OpenSSH)
    assert checked_private_key("\n  " + text.replace("\n", "  \r\n") + "\n\n", None) == text


@pytest.mark.parametrize("format", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["OpenSSH", "PKCS8"])
def test_wrong_passphrases_are_told_apart(format: PrivateFormat) -> None:
    encrypted = written(RSA, format, "right")
    with pytest.raises(InvalidInput, match="passphrase: is missing"):
        checked_private_key(encrypted, None)
    with pytest.raises(InvalidInput, match="passphrase: does not open"):
        checked_private_key(encrypted, "wrong")
    with pytest.raises(InvalidInput, match="passphrase: is not encrypted"):
        checked_private_key(written(RSA, format), "needless")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("not a key", "must be a private key"),
        (RSA.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), "this is a public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "puttygen"),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), "private key"),
        (written(RSA, PrivateFormat.PKCS8)[:400], "private key"),
        (written(ED25519, PrivateFormat.OpenSSH).replace("b3B", "b4B"), "private key"),
        (written(ed448.Ed448PrivateKey.generate(), PrivateFormat.PKCS8), "of type Ed25519, ECDSA or RSA"),
        (written(dsa.generate_private_key(1024), PrivateFormat.PKCS8), "of type Ed25519, ECDSA or RSA"),
    ],
    ids=["text", "public", "PuTTY", "public PEM", "cut", "altered", "Ed448", "DSA"],
)
def test_what_is_no_usable_private_key_is_refused(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=hint):
        checked_private_key(text, None)
