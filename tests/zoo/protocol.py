"""The transport layer of an SSH server (RFC 4253) without input and output: bytes in, messages out, and back."""

import os
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import CipherContext

from tests.zoo import algorithms
from tests.zoo.algorithms import CIPHERS, KEX, MACS, Algorithms, HostKey
from tests.zoo.wire_format import Reader, mpint, name_list, string, uint32

DISCONNECT, IGNORE, UNIMPLEMENTED, DEBUG, SERVICE_REQUEST, SERVICE_ACCEPT, EXT_INFO = 1, 2, 3, 4, 5, 6, 7
KEXINIT, NEWKEYS = 20, 21
KEX_INIT, KEX_REPLY, GEX_INIT, GEX_REPLY, GEX_REQUEST = 30, 31, 32, 33, 34


class NoMatch(Exception):
    """Client and server have no algorithm in common."""


@dataclass
class _Direction:
    """How packets go in one direction; without a cipher before the first key exchange."""

    block: int = 8
    cipher: CipherContext | None = None
    mac: str | None = None
    mac_key: bytes = b""
    sequence: int = 0

    def code(self, data: bytes) -> bytes:
        return self.cipher.update(data) if self.cipher else data

    def tag(self, packet: bytes) -> bytes:
        return algorithms.mac(self.mac, self.mac_key, uint32(self.sequence) + packet) if self.mac else b""

    @property
    def tag_bytes(self) -> int:
        return MACS[self.mac][1] if self.mac else 0


class Protocol:
    """One connection. Feed it with `receive`, send what `output` holds, take what `messages` yields.

    Key exchanges, the client's and ours, happen inside; all else is a message for the caller. What is sent during an
    exchange goes out behind it.
    """

    def __init__(self, offer: Algorithms, version: str) -> None:
        self.offer = offer
        self.version = version.encode()
        self.client_version: bytes | None = None
        self.client_lists: dict[str, tuple[str, ...]] = {}
        self.agreed: dict[str, str] = {}
        self.session_id = b""
        self.output = bytearray()
        self.exchanges = 0
        self._input = bytearray()
        self._first_block = b""
        self._out = _Direction()
        self._in = _Direction()
        self._our_init = b""
        self._their_init = b""
        self._gex_request = b""
        self._next_in: _Direction | None = None
        self._held: deque[bytes] = deque()
        self._exchanging = False

    def send_version(self) -> None:
        self.output += self.version + b"\r\n"
        self.rekey()

    def rekey(self) -> None:
        """Begins a key exchange, the first or another one."""
        offer = self.offer
        lists = (offer.kex, offer.host_key, *((offer.ciphers,) * 2), *((offer.macs,) * 2), *((("none",),) * 2), (), ())
        self._our_init = bytes([KEXINIT]) + os.urandom(16) + b"".join(map(name_list, lists)) + bytes(5)
        self._pack(self._our_init)
        self._exchanging = True

    def send(self, message: bytes) -> None:
        if self._exchanging and message[0] > DEBUG:
            self._held.append(message)
        else:
            self._pack(message)

    def _pack(self, message: bytes) -> None:
        out = self._out
        padding = out.block - (5 + len(message)) % out.block
        padding += out.block if padding < 4 else 0
        packet = uint32(len(message) + padding + 1) + bytes([padding]) + message + os.urandom(padding)
        self.output += out.code(packet) + out.tag(packet)
        out.sequence = (out.sequence + 1) & 0xFFFFFFFF

    def receive(self, data: bytes) -> None:
        self._input += data

    def messages(self) -> Iterator[bytes]:
        """What the client has said, as far as it has come; raises NoMatch."""
        while (message := self._unpack()) is not None:
            kind = message[0]
            if kind == KEXINIT:
                self._negotiate(message)
            elif kind == NEWKEYS:
                self._take_keys()
            elif KEX_INIT <= kind <= GEX_REQUEST:
                self._exchange(message)
            elif kind not in (IGNORE, DEBUG, UNIMPLEMENTED, EXT_INFO):
                yield message

    def _unpack(self) -> bytes | None:
        if self.client_version is None:
            line, newline, rest = self._input.partition(b"\n")
            if not newline:
                return None
            self.client_version, self._input = bytes(line.rstrip(b"\r")), rest
        incoming = self._in
        if not self._first_block and len(self._input) >= incoming.block:
            self._first_block = incoming.code(bytes(self._input[: incoming.block]))
            del self._input[: incoming.block]
        if not self._first_block:
            return None
        (length,) = struct.unpack(">I", self._first_block[:4])
        missing = 4 + length - incoming.block
        if len(self._input) < missing + incoming.tag_bytes:
            return None
        packet = self._first_block + incoming.code(bytes(self._input[:missing]))
        tag = bytes(self._input[missing : missing + incoming.tag_bytes])
        assert tag == incoming.tag(packet), "a packet of the client's has a wrong MAC"
        del self._input[: missing + incoming.tag_bytes]
        self._first_block = b""
        incoming.sequence = (incoming.sequence + 1) & 0xFFFFFFFF
        return packet[5 : len(packet) - packet[4]]

    def _negotiate(self, message: bytes) -> None:
        self._their_init = message
        if not self._exchanging:
            self.rekey()
        reader = Reader(message[17:])
        offer = self.offer
        for what, ours in (
            ("kex", offer.kex),
            ("host key", offer.host_key),
            ("cipher in", offer.ciphers),
            ("cipher out", offer.ciphers),
            ("mac in", offer.macs),
            ("mac out", offer.macs),
        ):
            theirs = self.client_lists[what] = reader.names()
            if (chosen := next((name for name in theirs if name in ours), None)) is None:
                raise NoMatch(f"{what}: the client speaks {', '.join(theirs)}, the server {', '.join(ours)}")
            self.agreed[what] = chosen

    @property
    def host_key(self) -> HostKey:
        return algorithms.host_key(self.agreed["host key"], self.offer.rsa_bits)

    def _exchange(self, message: bytes) -> None:
        kex, reader = self.agreed["kex"], Reader(message[1:])
        if kex.startswith("curve25519"):
            theirs = reader.string()
            ours, secret = algorithms.agree_on_curve(theirs)
            self._reply(KEX_REPLY, string(ours), string(theirs) + string(ours), secret)
        elif kex.startswith("diffie-hellman-group-exchange") and message[0] in (GEX_REQUEST, KEX_INIT):
            # The older request names one size, and not a range of them.
            self._gex_request = message[1:]
            prime = algorithms.group(self.offer.group_bits)
            self._pack(bytes([KEX_REPLY]) + mpint(prime) + mpint(2))
        else:
            in_group = kex.startswith("diffie-hellman-group-exchange")
            bits = self.offer.group_bits if in_group else 1024 if "group1-" in kex else 2048
            prime, public = algorithms.group(bits), reader.mpint()
            mine, secret = algorithms.agree_in_group(prime, public)
            before = self._gex_request + mpint(prime) + mpint(2) if in_group else b""
            kind = GEX_REPLY if in_group else KEX_REPLY
            self._reply(kind, mpint(mine), before + mpint(public) + mpint(mine), secret)

    def _reply(self, kind: int, ours: bytes, values: bytes, secret: int) -> None:
        digest = KEX[self.agreed["kex"]]
        assert self.client_version is not None
        parts = (self.client_version, self.version, self._their_init, self._our_init, self.host_key.blob)
        shared = mpint(secret)
        exchange_hash = digest(b"".join(map(string, parts)) + values + shared).digest()
        self.session_id = self.session_id or exchange_hash
        signature = self.host_key.sign(self.agreed["host key"], exchange_hash)
        self._pack(bytes([kind]) + string(self.host_key.blob) + ours + string(signature))
        self._pack(bytes([NEWKEYS]))

        def derive(letter: bytes, size: int) -> bytes:
            key = digest(shared + exchange_hash + letter + self.session_id).digest()
            while len(key) < size:
                key += digest(shared + exchange_hash + key).digest()
            return key[:size]

        def direction(way: str, iv: bytes, key: bytes, mac: bytes, sequence: int) -> _Direction:
            cipher, mac_name = self.agreed[f"cipher {way}"], self.agreed[f"mac {way}"]
            key_bytes, block = CIPHERS[cipher]
            context = algorithms.cipher(cipher, derive(key, key_bytes), derive(iv, block), decrypts=way == "in")
            return _Direction(block, context, mac_name, derive(mac, MACS[mac_name][0]), sequence)

        self._out = direction("out", b"B", b"D", b"F", self._out.sequence)
        if not self.exchanges and self.offer.signatures and "ext-info-c" in self.client_lists["kex"]:
            self._pack(bytes([EXT_INFO]) + uint32(1) + string("server-sig-algs") + name_list(self.offer.signatures))
        self._next_in = direction("in", b"A", b"C", b"E", 0)

    def _take_keys(self) -> None:
        assert self._next_in is not None
        self._next_in.sequence = self._in.sequence
        self._in, self._next_in = self._next_in, None
        self._exchanging = False
        self.exchanges += 1
        while self._held:
            self._pack(self._held.popleft())


def disconnect(text: str, code: int = 11) -> bytes:
    return bytes([DISCONNECT]) + uint32(code) + string(text) + string("en")


def service_accept(name: str) -> bytes:
    return bytes([SERVICE_ACCEPT]) + string(name)
