"""Private keys: the formats and types that devices accept are opened, everything else is refused in plain words."""

import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from netstacks.crypto.ssh_keys import opened_private_key
from netstacks.errors import InvalidInput

ED25519 = ed25519.Ed25519PrivateKey.generate()
ECDSA = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def written(key: PrivateKeyTypes, style: PrivateFormat, passphrase: str | None = None) -> str:
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, style, encryption).decode()


def public(key: PrivateKeyTypes, encoding: Encoding, style: PublicFormat) -> str:
    return key.public_key().public_bytes(encoding, style).decode()


def is_open(text: str, key: PrivateKeyTypes) -> bool:
    opened = load_ssh_private_key(text.encode(), None)
    style = (Encoding.OpenSSH, PublicFormat.OpenSSH)
    return public(opened, *style) == public(key, *style)


@pytest.mark.parametrize("key", [ED25519, ECDSA, RSA], ids=["Ed25519", "ECDSA", "RSA"])
@pytest.mark.parametrize("style", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["OpenSSH", "PKCS8"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"], ids=["plain", "encrypted"])
def test_supported_keys_are_opened(key: PrivateKeyTypes, style: PrivateFormat, passphrase: str | None) -> None:
    assert is_open(opened_private_key(written(key, style, passphrase), passphrase), key)


@pytest.mark.parametrize("key", [ECDSA, RSA], ids=["ECDSA", "RSA"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"], ids=["plain", "encrypted"])
def test_traditional_pem_is_opened(key: PrivateKeyTypes, passphrase: str | None) -> None:
    assert is_open(opened_private_key(written(key, PrivateFormat.TraditionalOpenSSL, passphrase), passphrase), key)


@pytest.mark.parametrize("style", ["RFC4716", "PKCS8", "PEM"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_ssh_keygen_are_opened(tmp_path: Path, kind: str, style: str) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-m", style, "-N", "open sesame", "-f", path], check=True)
    path.with_suffix(".opened").write_text(opened_private_key(path.read_text(), "open sesame"))
    path.with_suffix(".opened").chmod(0o600)
    command = ["ssh-keygen", "-y", "-P", "", "-f", path.with_suffix(".opened")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.split()[:2] == path.with_suffix(".pub").read_text().split()[:2]


def test_changes_by_a_paste_are_undone() -> None:
    text = written(ED25519, PrivateFormat.OpenSSH)
    assert is_open(opened_private_key("\n  " + text.replace("\n", "  \r\n") + "\n\n", None), ED25519)


@pytest.mark.parametrize("style", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["OpenSSH", "PKCS8"])
def test_wrong_passphrases_are_told_apart(style: PrivateFormat) -> None:
    encrypted = written(RSA, style, "right")
    with pytest.raises(InvalidInput, match="passphrase: is missing"):
        opened_private_key(encrypted, None)
    with pytest.raises(InvalidInput, match="passphrase: does not open"):
        opened_private_key(encrypted, "wrong")
    with pytest.raises(InvalidInput, match="passphrase: leave it out"):
        opened_private_key(written(RSA, style), "needless")


def test_a_key_that_takes_very_long_to_decrypt_is_not_tried(tmp_path: Path) -> None:
    openssh = tmp_path / "openssh"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-a", "300", "-N", "x", "-f", openssh], check=True)
    pkcs8 = tmp_path / "pkcs8"
    command = ["openssl", "pkcs8", "-topk8", "-iter", "1000001", "-passout", "pass:x", "-out", pkcs8]
    subprocess.run(command, input=written(RSA, PrivateFormat.PKCS8), text=True, check=True)
    for path in (openssh, pkcs8):
        with pytest.raises(InvalidInput, match="encrypted in an unsupported way"):
            opened_private_key(path.read_text(), "x")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("not a key", "must be a private key"),
        (public(RSA, Encoding.OpenSSH, PublicFormat.OpenSSH), "this is a public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "puttygen"),
        (public(RSA, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "this is a public key"),
        (written(RSA, PrivateFormat.PKCS8)[:400], "has no end"),
        (written(ED25519, PrivateFormat.PKCS8).replace("MC4CAQ", "MC4CAR"), "private key"),
        (written(ED25519, PrivateFormat.OpenSSH).replace("b3B", "b4B"), "encrypted in an unsupported way"),
        (written(ED25519, PrivateFormat.OpenSSH) * 2, "has 2 private keys"),
        (re.sub("\n.*\n", "\n?\n", written(ED25519, PrivateFormat.OpenSSH), count=1), "is damaged"),
        (written(ed448.Ed448PrivateKey.generate(), PrivateFormat.PKCS8), "of type Ed25519, ECDSA or RSA"),
        (written(dsa.generate_private_key(1024), PrivateFormat.PKCS8), "is a DSA key"),
    ],
    ids=["text", "public", "PuTTY", "public PEM", "cut", "altered", "no OpenSSH", "two", "no base64", "Ed448", "DSA"],
)
def test_text_that_is_no_usable_private_key_is_refused(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=hint):
        opened_private_key(text, None)
