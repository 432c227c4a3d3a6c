"""Key files as ssh-keygen and openssl write them and people paste them: what is accepted logs in to a real OpenSSH."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ssh import options
from ssh.key import import_privkey_base64
from ssh.session import Session

from netstacks.crypto import key_files
from netstacks.crypto.key_files import KeyFile
from netstacks.crypto.ssh_keys import opened_private_key, readable_private_key
from netstacks.errors import InvalidInput
from tests.sshd import SSHD, Sshd

PASSPHRASE = "open sesame"


def run(*words: str, given: str | None = None) -> str:
    return subprocess.run(words, input=given, check=True, capture_output=True, text=True).stdout


def keygen(*words: str, passphrase: str = "") -> str:
    with tempfile.TemporaryDirectory() as folder:
        run("ssh-keygen", "-q", "-N", passphrase, "-C", "J. Müller: key", "-f", f"{folder}/key", *words)
        return Path(f"{folder}/key").read_text()


def ec(*words: str) -> str:
    return run("openssl", "ecparam", "-name", "prime256v1", "-genkey", *words)


def rsa(bits: int = 2048) -> str:
    return run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


def pkcs8(key: str, *words: str) -> str:
    return run("openssl", "pkcs8", "-topk8", "-passout", f"pass:{PASSPHRASE}", *words, given=key)


def pkcs12_listing() -> str:
    """What `openssl pkcs12 -nodes` prints: attributes, a certificate and the key."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate, bundle = (f"{folder}/{name}" for name in ("key", "certificate", "bundle"))
        Path(key).write_text(rsa())
        run("openssl", "req", "-x509", "-key", key, "-subj", "/O=Example/CN=r1", "-out", certificate)
        words = ("-export", "-inkey", key, "-in", certificate, "-name", "r1", "-passout", "pass:x", "-out", bundle)
        run("openssl", "pkcs12", *words)
        return run("openssl", "pkcs12", "-in", bundle, "-nodes", "-passin", "pass:x")


PLAIN: dict[str, Callable[[], str]] = {
    "OpenSSH Ed25519": lambda: keygen("-t", "ed25519"),
    "OpenSSH RSA": lambda: keygen("-t", "rsa"),
    "OpenSSH ECDSA 256": lambda: keygen("-t", "ecdsa", "-b", "256"),
    "OpenSSH ECDSA 384": lambda: keygen("-t", "ecdsa", "-b", "384"),
    "OpenSSH ECDSA 521": lambda: keygen("-t", "ecdsa", "-b", "521"),
    "PKCS #1": lambda: keygen("-t", "rsa", "-m", "PEM"),
    "PKCS #1 of 1024 bits": lambda: keygen("-t", "rsa", "-b", "1024", "-m", "PEM"),
    "PKCS #8 RSA": rsa,
    "PKCS #8 RSA of 1024 bits": lambda: rsa(1024),
    "PKCS #8 ECDSA": lambda: keygen("-t", "ecdsa", "-m", "PKCS8"),
    "PKCS #8 Ed25519": lambda: run("openssl", "genpkey", "-algorithm", "ed25519"),
    "SEC 1": lambda: ec("-noout"),
    "SEC 1 behind EC PARAMETERS": ec,
    "SEC 1 with explicit parameters": lambda: ec("-param_enc", "explicit"),
    "PKCS #8 behind Bag Attributes": pkcs12_listing,
}
ENCRYPTED: dict[str, Callable[[], str]] = {
    "OpenSSH": lambda: keygen("-t", "ed25519", passphrase=PASSPHRASE),
    "OpenSSH, CBC": lambda: keygen("-t", "ed25519", "-Z", "aes256-cbc", passphrase=PASSPHRASE),
    "OpenSSH, GCM": lambda: keygen("-t", "rsa", "-Z", "aes256-gcm@openssh.com", passphrase=PASSPHRASE),
    "PKCS #1": lambda: keygen("-t", "rsa", "-m", "PEM", passphrase=PASSPHRASE),
    "SEC 1": lambda: keygen("-t", "ecdsa", "-m", "PEM", passphrase=PASSPHRASE),
    "PKCS #8": lambda: keygen("-t", "rsa", "-m", "PKCS8", passphrase=PASSPHRASE),
    "PKCS #8, PBKDF2": lambda: pkcs8(rsa()),
    "PKCS #8, scrypt": lambda: pkcs8(ec("-noout"), "-scrypt"),
    "PKCS #8, triple DES": lambda: pkcs8(rsa(), "-v2", "des3"),
    "PKCS #8, PKCS #12's triple DES": lambda: pkcs8(rsa(), "-v1", "PBE-SHA1-3DES"),
}


class Device:
    """An OpenSSH server that lets in with one key at a time."""

    def __init__(self, server: Sshd, authorized: Path) -> None:
        self._server = server
        self._authorized = authorized

    def lets_in(self, private_key: str) -> bool:
        """Whether it lets in with this key alone, by libssh. OpenSSH says which public key belongs to it."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(private_key)
            file.flush()
            self._authorized.write_text(run("ssh-keygen", "-y", "-P", "", "-f", file.name))
        session = Session()
        session.options_set(options.HOST, self._server.host)
        session.options_set(options.USER, self._server.user)
        session.options_set_port(self._server.port)
        session.options_set_int_val(options.PROCESS_CONFIG, 0)
        session.connect()
        try:
            return bool(session.userauth_publickey(import_privkey_base64(private_key.encode())) == 0)
        finally:
            session.disconnect()


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    folder = Path(tempfile.mkdtemp(prefix="netstacks-keys-"))
    folder.chmod(0o755)
    authorized = folder / "authorized_keys"
    with Sshd(f"AuthorizedKeysFile {authorized}") as server:
        yield Device(server, authorized)
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", PLAIN)
def test_a_key_that_openssh_accepts_is_accepted_and_logs_in(device: Device, kind: str) -> None:
    file = PLAIN[kind]()
    opened = opened_private_key(file, None)
    assert device.lets_in(opened)
    # As it was stored by the first version of this program, and as it is stored now.
    assert device.lets_in(readable_private_key(file))
    assert opened_private_key(readable_private_key(opened), None).splitlines()[1] == opened.splitlines()[1]


@pytest.mark.parametrize("kind", ENCRYPTED)
def test_an_encrypted_key_is_opened_with_its_passphrase_and_logs_in(device: Device, kind: str) -> None:
    file = ENCRYPTED[kind]()
    assert device.lets_in(opened_private_key(file, PASSPHRASE))
    with pytest.raises(InvalidInput, match="passphrase: is missing"):
        opened_private_key(file, None)
    with pytest.raises(InvalidInput, match="passphrase: is missing"):
        readable_private_key(file)
    with pytest.raises(InvalidInput, match="passphrase: does not open"):
        opened_private_key(file, "another")


# Pasting


def same_key(one: str, other: str) -> bool:
    """OpenSSH's format has random check bytes: the public part, which stands before them, tells."""
    return one.splitlines()[1:3] == other.splitlines()[1:3]


PASTES: dict[str, Callable[[str], str]] = {
    "CRLF": lambda key: key.replace("\n", "\r\n"),
    "CR": lambda key: key.replace("\n", "\r"),
    "no last line end": lambda key: key.rstrip("\n"),
    "byte order mark": lambda key: "\ufeff" + key,
    "spaces around": lambda key: f"  \n\t {key}  \n\n",
    "indented": lambda key: key.replace("\n", "\n    "),
    "indented by no-break spaces": lambda key: key.replace("\n", "\n\u00a0\u00a0"),
    "trailing spaces": lambda key: key.replace("\n", "  \t\n"),
    "an empty line after each": lambda key: key.replace("\n", "\n\n"),
    "on one line": lambda key: key.replace("\n", " "),
    "comments around": lambda key: f"# key of r1\n\n{key}\n# end\n",
    "public key before": lambda key: f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me@host\n{key}",
    "certificate after": lambda key: f"{key}-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "PEM public key before": lambda key: f"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n{key}",
    "Bag Attributes before": lambda key: (
        f"Bag Attributes\n    localKeyID: 01 02\nKey Attributes: <No Attributes>\n{key}"
    ),
}


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {kind: PLAIN[kind]() for kind in ("OpenSSH Ed25519", "PKCS #1", "SEC 1", "PKCS #8 RSA")}


@pytest.mark.parametrize("kind", ["OpenSSH Ed25519", "PKCS #1", "SEC 1", "PKCS #8 RSA"])
@pytest.mark.parametrize("paste", PASTES)
def test_a_pasted_key_is_read_whatever_the_paste_changed(keys: dict[str, str], kind: str, paste: str) -> None:
    pasted = PASTES[paste](keys[kind])
    assert same_key(opened_private_key(pasted, None), opened_private_key(keys[kind], None))


@given(st.lists(st.sampled_from(sorted(set(PASTES) - {"on one line"})), max_size=4, unique=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_pastes_of_several_kinds_do_not_matter(keys: dict[str, str], pastes: list[str]) -> None:
    key = pasted = keys["OpenSSH Ed25519"]
    for paste in pastes:
        pasted = PASTES[paste](pasted)
    assert same_key(opened_private_key(pasted, None), opened_private_key(key, None))


@pytest.mark.parametrize("paste", ["CRLF", "indented", "an empty line after each", "byte order mark"])
def test_a_pasted_encrypted_traditional_key_is_read(paste: str) -> None:
    key = ENCRYPTED["PKCS #1"]()
    assert "DEK-Info" in key
    opened = opened_private_key(PASTES[paste](key), PASSPHRASE)
    assert same_key(opened, opened_private_key(key, PASSPHRASE))


# What is refused


def dsa(style: str) -> str:
    return keygen("-t", "dsa", "-m", style)


@pytest.mark.parametrize("style", ["RFC4716", "PEM", "PKCS8"])
def test_a_dsa_key_is_named(style: str) -> None:
    with pytest.raises(InvalidInput, match="is a DSA key"):
        opened_private_key(dsa(style), None)


def test_a_comment_does_not_make_a_key_another_type(device: Device) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run("ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-C", "ssh-dss sk-ssh-ed25519@", "-f", f"{folder}/key")
        assert device.lets_in(opened_private_key(Path(f"{folder}/key").read_text(), None))


@pytest.mark.parametrize("curve", ["secp256k1", "secp224r1", "brainpoolP256r1"])
def test_a_curve_that_ssh_does_not_have_is_named(curve: str) -> None:
    with pytest.raises(InvalidInput, match=f"does not use the curve {curve}"):
        opened_private_key(run("openssl", "ecparam", "-name", curve, "-genkey", "-noout"), None)


def test_an_rsa_key_that_is_too_short_is_named() -> None:
    with pytest.raises(InvalidInput, match="is an RSA key of 768 bits"):
        opened_private_key(rsa(768), None)


@pytest.mark.parametrize("cipher", ["3des-cbc", "aes128-ctr", "chacha20-poly1305@openssh.com"])
def test_a_cipher_that_cannot_be_opened_is_not_taken_for_a_wrong_passphrase(cipher: str) -> None:
    with pytest.raises(InvalidInput, match="encrypted in an unsupported way; rewrite it"):
        opened_private_key(keygen("-t", "ed25519", "-Z", cipher, passphrase=PASSPHRASE), PASSPHRASE)


def test_a_key_of_a_hardware_token_is_named() -> None:
    def text(words: bytes) -> bytes:
        return len(words).to_bytes(4) + words

    public = text(b"sk-ssh-ed25519@openssh.com") + text(bytes(32)) + text(b"ssh:")
    none = text(b"none") + text(b"none") + text(b"")
    with tempfile.NamedTemporaryFile("wb") as file:
        file.write(b"openssh-key-v1\0" + none + (1).to_bytes(4) + text(public) + text(bytes(64)))
        file.flush()
        body = run("base64", file.name)
    with pytest.raises(InvalidInput, match="only with its hardware token"):
        opened_private_key(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{body}-----END OPENSSH PRIVATE KEY-----\n", None)


PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRhcyBpc3QgZWluIG9lZmZlbnRsaWNoZXIgU2NobHVlc3NlbA me@host"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "must be a private key"),
        ("hunter2", "must be a private key"),
        (PUBLIC, "this is a public key"),
        (f"# mine\n{PUBLIC}\n", "this is a public key"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNh", "this is a public key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", "this is a public key"),
        ("-----BEGIN RSA PUBLIC KEY-----\nMIIB\n-----END RSA PUBLIC KEY-----", "this is a public key"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "this is a public key or certificate"),
        ("\ufeffPuTTY-User-Key-File-2: ssh-rsa\nEncryption: aes256-cbc\n", "Conversions, Export OpenSSH key"),
        ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/5\n---- END SSH2 ENCRYPTED PRIVATE KEY ----", "ssh-keygen -i"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "has no end"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----", "unsupported way|damaged"),
        ("-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----", "is damaged"),
        ("-----BEGIN PRIVATE KEY-----\n" + "A" * 20000 + "\n-----END PRIVATE KEY-----", "longer than 16384"),
    ],
)
def test_a_wrong_paste_is_told_by_its_kind(text: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match=hint):
        opened_private_key(text, None)


@given(st.text(max_size=400) | st.text("-BEGIN PRVATKY:\n=/+aM", max_size=400), st.none() | st.text(max_size=10))
@settings(deadline=None)
def test_no_text_fails_in_another_way(text: str, passphrase: str | None) -> None:
    for pasted in (text, f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----"):
        with pytest.raises(InvalidInput):
            opened_private_key(pasted, passphrase)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_a_damaged_key_is_opened_or_told(keys: dict[str, str], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(keys.values())))
    content = bytearray(key_files.find(key).content)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = KeyFile(key_files.find(key).label, (), bytes(content)).pem
    with contextlib.suppress(InvalidInput):
        opened_private_key(damaged, None)
