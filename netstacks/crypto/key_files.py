"""Extracts the one private SSH key from pasted text, and ignores the text around it."""

import binascii
import re
from dataclasses import dataclass
from textwrap import wrap

from netstacks.errors import InvalidInput

# Far longer than an RSA key of 16384 bits.
MAX_CHARS = 16384

WANTED = "secret: must be a private key of OpenSSH or PEM format, of type Ed25519, ECDSA or RSA"

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
# Byte order mark and zero-width characters, which some editors insert.
_UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
_PUBLIC_LINE = re.compile(r"(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]+ +AAAA", re.IGNORECASE)
_PUBLIC_LABELS = ("PUBLIC KEY-----", "CERTIFICATE-----", "SSH2 PUBLIC KEY ----")


@dataclass(frozen=True, repr=False)
class KeyFile:
    """The PEM block of a private key; `headers` name the cipher of an encrypted traditional PEM key (RFC 1421)."""

    label: str
    headers: tuple[str, ...]
    content: bytes

    @property
    def pem(self) -> str:
        """The normalised PEM text, which every library reads."""
        body = wrap(binascii.b2a_base64(self.content, newline=False).decode(), 64)
        head = [*self.headers, ""] if self.headers else []
        return "\n".join([f"-----BEGIN {self.label}-----", *head, *body, f"-----END {self.label}-----", ""])


def find(text: str) -> KeyFile:
    """The private key in `text`. Public keys, certificates, parameters and comments beside it are ignored.

    Line ends, blank lines and spaces do not matter. Raises InvalidInput, which says what the text is instead.
    """
    text = text.translate(_UNSEEN)
    found = [(match, match[1]) for match in _BEGIN.finditer(text) if match[1].endswith("PRIVATE KEY")]
    if not found:
        raise InvalidInput(f"{WANTED}{_what_it_is(text)}")
    if len(found) > 1:
        raise InvalidInput(f"secret: has {len(found)} private keys, and a credential holds one: paste only that one")
    begin, label = found[0]
    end = text.find(f"-----END {label}-----", begin.end())
    if end < 0:
        raise InvalidInput(f"secret: the private key has no end (-----END {label}-----): paste the whole file")
    if end - begin.end() > MAX_CHARS:
        raise InvalidInput(
            f"secret: the private key is longer than {MAX_CHARS} characters, more than any key that devices accept"
        )
    lines = [line.strip() for line in text[begin.end() : end].splitlines()]
    # Base64 has no colon, so every line with one is a header.
    headers = tuple(line for line in lines if ":" in line)
    data = "".join("".join(line.split()) for line in lines if ":" not in line)
    try:
        return KeyFile(label, headers, binascii.a2b_base64(data, strict_mode=True))
    except ValueError as error:
        raise InvalidInput("secret: the private key is damaged: paste the unchanged file again") from error


def _what_it_is(text: str) -> str:
    if "PuTTY-User-Key-File" in text:
        return (
            "; this is PuTTY's own format: open it in PuTTYgen and choose Conversions, Export OpenSSH key, or run"
            " `puttygen KEY.ppk -O private-openssh -o KEY`"
        )
    if "SSH2 ENCRYPTED PRIVATE KEY" in text:
        return "; this is the format of ssh.com: convert it with `ssh-keygen -i -f KEYFILE`"
    if _PUBLIC_LINE.search(text) or any(label in text for label in _PUBLIC_LABELS):
        return "; this is a public key or certificate, and the private key is in the file beside it, without .pub"
    return ""
