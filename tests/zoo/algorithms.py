"""The algorithms of an SSH server of the tests, good and bad ones: `cryptography` computes, this names them."""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.zoo.wire_format import mpint, string

# What a server may be told to speak. Lists may name others, too: a client that agrees on one of them is cut off.
KEX = {
    "curve25519-sha256": hashlib.sha256,
    "curve25519-sha256@libssh.org": hashlib.sha256,
    "diffie-hellman-group14-sha256": hashlib.sha256,
    "diffie-hellman-group14-sha1": hashlib.sha1,
    "diffie-hellman-group1-sha1": hashlib.sha1,
    "diffie-hellman-group-exchange-sha256": hashlib.sha256,
    "diffie-hellman-group-exchange-sha1": hashlib.sha1,
}
# Name: bytes of the key, and of the part that is sent; hash.
MACS: dict[str, tuple[int, int, str]] = {
    "hmac-sha2-512": (64, 64, "sha512"),
    "hmac-sha2-256": (32, 32, "sha256"),
    "hmac-sha1": (20, 20, "sha1"),
    "hmac-sha1-96": (20, 12, "sha1"),
    "hmac-md5": (16, 16, "md5"),
}
# Name: bytes of the key, and of the block.
CIPHERS = {
    "aes256-ctr": (32, 16),
    "aes128-ctr": (16, 16),
    "aes256-cbc": (32, 16),
    "aes128-cbc": (16, 16),
    "3des-cbc": (24, 8),
}


@dataclass(frozen=True)
class Algorithms:
    """What a server advertises, in its order.

    `group_bits` is the group that it gives in a group exchange, `rsa_bits` the size of an RSA host key, and
    `signatures` is what it says of users' keys (RFC 8308); devices that know nothing of this say nothing.
    """

    kex: tuple[str, ...] = ("curve25519-sha256", "diffie-hellman-group14-sha256")
    host_key: tuple[str, ...] = ("ssh-ed25519",)
    ciphers: tuple[str, ...] = ("aes256-ctr", "aes128-ctr")
    macs: tuple[str, ...] = ("hmac-sha2-256",)
    group_bits: int = 2048
    rsa_bits: int = 2048
    signatures: tuple[str, ...] = ()


def cipher(name: str, key: bytes, iv: bytes, *, decrypts: bool = False) -> CipherContext:
    algorithm = TripleDES(key) if name == "3des-cbc" else AES(key)
    made: Cipher[modes.CTR | modes.CBC] = Cipher(algorithm, modes.CTR(iv) if name.endswith("-ctr") else modes.CBC(iv))
    return made.decryptor() if decrypts else made.encryptor()


def mac(name: str, key: bytes, data: bytes) -> bytes:
    _, size, digest = MACS[name]
    return hmac.digest(key, data, digest)[:size]


@cache
def group(bits: int) -> int:
    """The prime of RFC 2409's second group, or of RFC 3526's group 14: both are made from the digits of pi."""
    distance: int = {1024: 129093, 2048: 124476}[bits]
    ones: int = 2**bits - 2 ** (bits - 64) - 1
    return ones + 2**64 * (_pi(bits - 130) + distance)


def _pi(bits: int) -> int:
    """2**bits * pi, rounded down (Machin's formula, with bits to spare)."""
    one = 1 << (bits + 64)

    def arctan_of_one_by(divisor: int) -> int:
        total, power, odd = 0, one // divisor, 1
        while power:
            total += power // odd if odd % 4 == 1 else -(power // odd)
            power //= divisor * divisor
            odd += 2
        return total

    return (16 * arctan_of_one_by(5) - 4 * arctan_of_one_by(239)) >> 64


def agree_on_curve(theirs: bytes) -> tuple[bytes, int]:
    """Our public value for curve25519, and the shared secret."""
    private = x25519.X25519PrivateKey.generate()
    shared = private.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), int.from_bytes(shared, "big")


def agree_in_group(prime: int, theirs: int) -> tuple[int, int]:
    """Our public value for Diffie and Hellman's exchange with generator 2, and the shared secret."""
    private = secrets.randbits(320)
    return pow(2, private, prime), pow(theirs, private, prime)


@dataclass(frozen=True)
class HostKey:
    """A host key: `blob` is what clients know it by, `sign` takes the name of an algorithm that it is good for."""

    key_type: str
    blob: bytes
    sign: Callable[[str, bytes], bytes]


_MAKING = threading.Lock()


def host_key(algorithm: str, rsa_bits: int = 2048) -> HostKey:
    """One key of each kind for the whole run: an RSA key takes its time to make."""
    with _MAKING:
        if algorithm.startswith(("ssh-rsa", "rsa-")):
            return _rsa(rsa_bits)
        return {"ssh-ed25519": _ed25519, "ecdsa-sha2-nistp256": _ecdsa, "ssh-dss": _dss}[algorithm]()


@cache
def _rsa(bits: int) -> HostKey:
    # `cryptography` makes none below 1024 bits, and the devices that have them are what this is for.
    exponent = 65537
    first, second = _prime(bits // 2), _prime(bits - bits // 2)
    modulus, private = first * second, pow(exponent, -1, (first - 1) * (second - 1))

    def sign(algorithm: str, data: bytes) -> bytes:
        digest, prefix = _RSA_HASHES[algorithm]
        hashed = bytes.fromhex(prefix) + digest(data).digest()
        padded = b"\0\1" + b"\xff" * (bits // 8 - 3 - len(hashed)) + b"\0" + hashed
        signature = pow(int.from_bytes(padded, "big"), private, modulus)
        return string(algorithm) + string(signature.to_bytes(bits // 8, "big"))

    return HostKey("ssh-rsa", string("ssh-rsa") + mpint(exponent) + mpint(modulus), sign)


# By RFC 8017, section 9.2: the hash, and how its name is written before its value.
_RSA_HASHES = {
    "ssh-rsa": (hashlib.sha1, "3021300906052b0e03021a05000414"),
    "rsa-sha2-256": (hashlib.sha256, "3031300d060960864801650304020105000420"),
    "rsa-sha2-512": (hashlib.sha512, "3051300d060960864801650304020305000440"),
}


def _prime(bits: int) -> int:
    """A number that passes Fermat's test; its two highest bits are set, so that a product has all its bits."""
    while True:
        candidate: int = secrets.randbits(bits) | 3 << (bits - 2) | 1
        if pow(2, candidate - 1, candidate) == 1 and candidate % 65537 != 1:
            return candidate


@cache
def _ed25519() -> HostKey:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(algorithm: str, data: bytes) -> bytes:
        return string(algorithm) + string(key.sign(data))

    return HostKey("ssh-ed25519", string("ssh-ed25519") + string(public), sign)


@cache
def _ecdsa() -> HostKey:
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(algorithm: str, data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return string(algorithm) + string(mpint(r) + mpint(s))

    name = "ecdsa-sha2-nistp256"
    return HostKey(name, string(name) + string("nistp256") + string(point), sign)


@cache
def _dss() -> HostKey:
    key = dsa.generate_private_key(1024)
    public = key.public_key().public_numbers()
    numbers = public.parameter_numbers

    def sign(algorithm: str, data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, hashes.SHA1()))
        return string(algorithm) + string(r.to_bytes(20, "big") + s.to_bytes(20, "big"))

    blob = string("ssh-dss") + b"".join(map(mpint, (numbers.p, numbers.q, numbers.g, public.y)))
    return HostKey("ssh-dss", blob, sign)


def public_key(offer: Algorithms) -> tuple[str, str]:
    """Type and base64 of the host key that a client is shown that speaks the server's first choice."""
    key = host_key(offer.host_key[0], offer.rsa_bits)
    return key.key_type, base64.b64encode(key.blob).decode()
