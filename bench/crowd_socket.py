"""One WebSocket to `/ws/ssh` as an asyncio protocol: cheap enough for thousands beside the server that they load."""

import asyncio
import json
from dataclasses import dataclass
from uuid import UUID

from netstacks.terminal.frames import PING, FrameType

_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
_LOST = 1006  # RFC 6455: no close frame came
_NO_CODE = 1005


@dataclass
class Place:
    """A terminal's session, epoch and offset, which its client names when it reconnects."""

    token: str = ""
    epoch: int = 0
    offset: int = 0


class TerminalSocket(asyncio.Protocol):
    """Sends `request`, then reads frames and moves `place` as our page does; masks with zeros.

    `answered` is done when the handshake has an answer; `arrived` is True when there is a terminal (SessionInfo and a
    reconnect token have come), and False when the connection ends before; `gone` is done when the connection is over.
    """

    def __init__(self, request: bytes, place: Place) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._place = place
        self._transport: asyncio.Transport | None = None
        self._unparsed = b""
        self._has_info = self._has_token = False
        self.status = 0
        """The HTTP status of the handshake, 0 without an answer."""
        self.retry_after_secs = 0.0
        self.ticket = ""
        """What keeps the client's place in the admission queue, when it was given one."""
        self.is_queued = False
        """Whether it was accepted and told to wait for its turn."""
        self.close_code = _LOST
        self.error = ""
        self.heard_at = self._loop.time()
        self.answered: asyncio.Future[None] = self._loop.create_future()
        self.arrived: asyncio.Future[bool] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()

    def type(self, keys: bytes) -> None:
        self._send(_BINARY, bytes([FrameType.DATA]) + keys)

    def ping(self) -> None:
        self._send(_BINARY, PING)

    def abort(self) -> None:
        """Cuts the connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        self._unparsed += data
        if self.status == 101 or self._is_upgraded():
            self._read_frames()

    def connection_lost(self, _: Exception | None) -> None:
        for future in (self.answered, self.gone):
            if not future.done():
                future.set_result(None)
        if not self.arrived.done():
            self.arrived.set_result(False)

    def _is_upgraded(self) -> bool:
        head, end, rest = self._unparsed.partition(b"\r\n\r\n")
        if not end:
            return False
        line, *lines = head.decode().split("\r\n")
        fields = dict(each.lower().split(": ", 1) for each in lines)
        status = int(line.split()[1])
        if status != 101 and len(rest) < int(fields.get("content-length", 0)):
            return False
        self.status, self._unparsed = status, rest
        if status == 101:
            self.answered.set_result(None)
            return True
        self.retry_after_secs = float(fields.get("retry-after", 0))
        if fields.get("content-type") == "application/json":
            refusal = json.loads(rest)
            self.error, self.ticket = refusal.get("error", ""), refusal.get("ticket", "")
        self.abort()
        return False

    def _read_frames(self) -> None:
        data, size, position = self._unparsed, len(self._unparsed), 0
        while size - position >= 2:
            begin, length = position + 2, data[position + 1]
            if length > 125:
                begin += 2 if length == 126 else 8
                length = int.from_bytes(data[position + 2 : begin], "big")
            end = begin + length
            # A head that is cut short says too short a length, and ends beyond the data all the same.
            if begin > size or end > size:
                break
            self._take(data[position] & 0x0F, data[begin:end])
            position = end
        self._unparsed = data[position:]

    def _take(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case 2:
                self._take_message(payload[0], payload[1:])
            case 8:
                self.close_code = int.from_bytes(payload[:2], "big") or _NO_CODE
                self._send(_CLOSE, payload[:2])
                assert self._transport is not None
                self._transport.close()
            case 9:
                self._send(_PONG, payload)

    def _take_message(self, kind: int, payload: bytes) -> None:
        match kind:
            case FrameType.DATA:
                self._place.offset += len(payload)
            case FrameType.SESSION_INFO:
                info = json.loads(payload)
                # A client that speaks no offsets may be told the session's name alone, before there is a terminal.
                self._place.epoch = info.get("epoch", self._place.epoch)
                self._place.offset = info.get("offset", self._place.offset)
                self._has_info = True
            case FrameType.RECONNECT:
                self._place.token = str(UUID(bytes=payload))
                self._has_token = True
            case FrameType.ERROR:
                self.error = payload.decode()
            case FrameType.WAITING:
                self.ticket, self.is_queued = json.loads(payload)["ticket"], True
        if self._has_info and self._has_token and not self.arrived.done():
            self.arrived.set_result(True)

    def _send(self, opcode: int, payload: bytes) -> None:
        """At most 125 bytes."""
        assert self._transport is not None
        self._transport.write(bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload)
