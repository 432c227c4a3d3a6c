"""The frames of `/ws/ssh` and `/ws/shared`: one type byte, then the payload, big-endian (docs/protocol.md, 6.2)."""

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
    # Bytes for the terminal that the device did not send; only for clients that speak offsets.
    NOTICE = 0x09
    # Whether the session has no owner now; only for viewers that speak offsets.
    UNOWNED = 0x0A
    # The place in the admission queue; only for clients that speak offsets.
    WAITING = 0x0B


class CloseCode(IntEnum):
    """WebSocket close codes towards the client; below 4000 as in RFC 6455, section 7.4 (docs/protocol.md, 6.2)."""

    NORMAL = 1000
    INTERNAL_ERROR = 1011
    RESTARTING = 1012
    ENDED = 4001
    REFUSED = 4002
    SUPERSEDED = 4003
    FENCED = 4410


# A window larger than this is a mistake or an attack; RFC 4254 would allow 32 bits.
MAX_DIMENSION = 1000
# What the largest monitors show in small letters. Larger windows count as this size, because the cost of a redraw grows
# with it.
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
    """Parses a frame from a client. Raises InvalidInput for a malformed one, and for a type that no client sends."""
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
    """The window size, limited to MAX_COLS and MAX_ROWS. Raises InvalidInput beyond MAX_DIMENSION."""
    if not (1 <= cols <= MAX_DIMENSION and 1 <= rows <= MAX_DIMENSION):
        raise InvalidInput(f"a window of {cols} columns and {rows} rows: each must be from 1 to {MAX_DIMENSION}")
    return min(cols, MAX_COLS), min(rows, MAX_ROWS)


def data(payload: bytes) -> bytes:
    return b"\x01" + payload


def data_frames(payload: bytes) -> list[bytes]:
    """Data in frames of at most FRAME_BYTES, cut between characters.

    A browser sees a frame only when it is complete: over a slow line a larger one takes so long that the client,
    without any event, takes the connection for dead.
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


def waiting(*, place: int, wait_secs: int, ticket: str, why: str) -> bytes:
    """The client's place in the queue, from 1, the estimated wait, the ticket that keeps the place, and the reason."""
    return b"\x0b" + json.dumps({"place": place, "wait_secs": wait_secs, "ticket": ticket, "why": why}).encode()


def error(text: str) -> bytes:
    """An Error frame, without control characters: terminals show it, and it may contain texts from devices."""
    return b"\x06" + plain(text).encode()


def resize(cols: int, rows: int) -> bytes:
    """The size of the user's terminal, for viewers that speak offsets."""
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

    At most three bytes are held back (RFC 3629, section 3); bytes that are not UTF-8 are never held back.
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
