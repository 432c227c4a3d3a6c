"""The frames of `/ws/ssh` and `/ws/shared`: one type byte, then the payload, big-endian."""

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

from netstacks.errors import InvalidInput
from netstacks.terminal.plain_text import plain


class FrameType(IntEnum):
    DATA = 0x01
    RESIZE = 0x02
    PING = 0x03
    PONG = 0x04
    CLOSE = 0x05
    ERROR = 0x06
    RECONNECT = 0x07
    SESSION_INFO = 0x08
    # Ours: bytes for the terminal that the device did not send; only for clients that speak offsets.
    NOTICE = 0x09
    # Ours: whether the session has no owner now; only for viewers that speak offsets.
    UNOWNED = 0x0A
    # Ours: the place in the queue of those who want a terminal; only for clients that speak offsets.
    WAITING = 0x0B


class CloseCode(IntEnum):
    """WebSocket close codes towards the client; below 4000 as in RFC 6455."""

    NORMAL = 1000
    INTERNAL_ERROR = 1011
    RESTARTING = 1012
    ENDED = 4001
    REFUSED = 4002
    SUPERSEDED = 4003
    FENCED = 4410


# A window larger than this is a mistake or an attack; RFC 4254 would allow 32 bits.
MAX_DIMENSION = 1000
# What the largest screens show in small letters. The device of a larger window is told this size: what a redraw costs
# grows with it.
MAX_COLS, MAX_ROWS = 500, 300
FRAME_BYTES = 16 * 1024


@dataclass(frozen=True)
class Data:
    payload: bytes


@dataclass(frozen=True)
class Resize:
    cols: int
    rows: int


@dataclass(frozen=True)
class Ping:
    pass


@dataclass(frozen=True)
class Pong:
    pass


@dataclass(frozen=True)
class Close:
    pass


ClientFrame = Data | Resize | Ping | Pong | Close


def parse(message: bytes | str) -> ClientFrame:
    """Reads a frame that a client sent; raises InvalidInput for one that no client may send."""
    if isinstance(message, str):
        raise InvalidInput("a text message: frames are binary, one type byte and the payload")
    if not message:
        raise InvalidInput("an empty message: a frame begins with its type byte")
    payload = message[1:]
    match message[0]:
        case FrameType.DATA:
            return Data(payload)
        case FrameType.RESIZE:
            if len(payload) != 4:
                raise InvalidInput(f"a Resize frame of {len(payload)} bytes: it takes columns and rows, 2 bytes each")
            return Resize(*check_window(*struct.unpack(">HH", payload)))
        case FrameType.PING:
            return Ping()
        case FrameType.PONG:
            return Pong()
        case FrameType.CLOSE:
            return Close()
    raise InvalidInput(f"a frame of type 0x{message[0]:02x}: a client sends types 0x01 to 0x05")


def check_window(cols: int, rows: int) -> tuple[int, int]:
    """Returns the window's size, as far as it counts; raises InvalidInput when it is none."""
    if not (1 <= cols <= MAX_DIMENSION and 1 <= rows <= MAX_DIMENSION):
        raise InvalidInput(f"a window of {cols} columns and {rows} rows: each must be from 1 to {MAX_DIMENSION}")
    return min(cols, MAX_COLS), min(rows, MAX_ROWS)


def data(payload: bytes) -> bytes:
    return b"\x01" + payload


def data_frames(payload: bytes) -> list[bytes]:
    """Data in frames of at most FRAME_BYTES, cut between characters: a browser sees a frame when it is whole.

    Over a slow line a larger one would take so long that its reader hears nothing, and takes the server for gone.
    """
    pieces = []
    start = 0
    while len(payload) - start > FRAME_BYTES:
        piece = payload[start : start + FRAME_BYTES]
        pieces.append(data(piece[: utf8_cut(piece) or FRAME_BYTES]))
        start += len(pieces[-1]) - 1
    pieces.append(data(payload[start:] if start else payload))
    return pieces


def notice(payload: bytes) -> bytes:
    return b"\x09" + payload


def unowned(is_unowned: bool) -> bytes:
    return bytes([FrameType.UNOWNED, is_unowned])


def waiting(*, place: int, wait_secs: int, ticket: str) -> bytes:
    """How many are served before this client and itself, about how long that takes, and what keeps its place."""
    return b"\x0b" + json.dumps({"place": place, "wait_secs": wait_secs, "ticket": ticket}).encode()


def error(text: str) -> bytes:
    """Terminals show it, and the words of devices and names of theirs may be in it."""
    return b"\x06" + plain(text).encode()


def resize(cols: int, rows: int) -> bytes:
    """Ours: how large the user's terminal is, for viewers that speak offsets."""
    return b"\x02" + struct.pack(">HH", cols, rows)


def reconnect(token: UUID) -> bytes:
    return b"\x07" + token.bytes


def session_info(**members: Any) -> bytes:
    return b"\x08" + json.dumps(members).encode()


PONG = bytes([FrameType.PONG])
PING = bytes([FrameType.PING])
CLOSE = bytes([FrameType.CLOSE])


def utf8_cut(payload: bytes) -> int:
    """How many bytes of `payload` may be sent without splitting a UTF-8 character.

    At most three bytes are held back; bytes that are no UTF-8 at all are not.
    """
    size = len(payload)
    for back in range(1, min(3, size) + 1):
        byte = payload[size - back]
        if byte < 0x80:
            return size
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return size - back if length > back else size
    return size
