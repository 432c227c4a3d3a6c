"""Thousands of clients that reconnect as our page does, and the answers that they get meanwhile."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

from bench.crowd_socket import Place, TerminalSocket
from netstacks.terminal.frames import CloseCode

# As in static/terminal/connection.js.
_FIRST_DELAY_SECS, _MAX_DELAY_SECS, _TICK_SECS = 0.5, 15.0, 0.5
_ACCEPT_WITHIN_SECS, _PING_EVERY_SECS, _ANSWER_WITHIN_SECS = 15.0, 15.0, 25.0
_FINAL = (CloseCode.ENDED, CloseCode.REFUSED, CloseCode.SUPERSEDED)
_ECHO_WITHIN_SECS = 15.0


@dataclass
class Tally:
    """The number of attempts that led to no terminal."""

    refused: int = 0
    """Answered with 503."""
    closed: int = 0
    """Accepted, and closed before there was a terminal."""
    failed: int = 0
    """Without a connection or an answer in time, or with another status than 503."""
    reasons: Counter[str] = field(default_factory=Counter)

    def count(self, socket: TerminalSocket) -> None:
        match socket.status:
            case 503:
                self.refused += 1
                reason = "503"
            case 101:
                self.closed += 1
                reason = f"closed with {socket.close_code}"
            case status:
                self.failed += 1
                reason = str(status or "no answer")
        self.reasons[f"{reason}: {socket.error}" if socket.error else reason] += 1


class Client:
    """One terminal: opened, kept, and opened again at the same place whenever its connection is lost.

    A page speaks offsets, and keeps its place in the admission queue: it shows its ticket, and comes when a refusal
    says. Any other client is blind to both, as the Terminal client is: it knows that the handshake has failed.
    """

    def __init__(self, crowd: "Crowd", query: dict[str, str | int], access_token: str, *, is_page: bool) -> None:
        self._crowd = crowd
        self._query = urlencode({**query, "token": access_token})
        self._is_page = is_page
        self._attempts = 0
        self._ticket = ""
        self.place = Place()
        self.socket: TerminalSocket | None = None
        """The connection of the terminal while there is one."""
        self.connected_at = 0.0
        """By the loop's clock: when there was a terminal for the last time."""
        self.refusal = ""
        """Why the client does not come again."""
        self.settled = asyncio.get_running_loop().create_future()
        """Done when there has been a terminal, or a refusal for good."""

    async def live(self) -> None:
        """Runs the client; returns when it is refused for good."""
        while not self.refusal:
            socket = await self._attempt()
            if await socket.arrived:
                self._ticket, self._attempts = "", 0
                self.socket, self.connected_at = socket, asyncio.get_running_loop().time()
                self._settle()
                await socket.gone
                self.socket = None
            else:
                self._crowd.tally.count(socket)
                if self._is_page:
                    self._ticket = socket.ticket or self._ticket
                    self._attempts = 0 if socket.is_queued else self._attempts
            if socket.close_code in _FINAL:
                self.refusal = f"{socket.close_code}: {socket.error}"
                self._settle()
            else:
                await asyncio.sleep(self._delay_secs(socket))

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    async def _attempt(self) -> TerminalSocket:
        """Returns a socket whose `arrived` is done."""
        loop = asyncio.get_running_loop()
        socket = TerminalSocket(self._request(), self.place)
        try:
            async with asyncio.timeout(_ACCEPT_WITHIN_SECS):
                await loop.create_connection(lambda: socket, "127.0.0.1", random.choice(self._crowd.ports))
                await socket.answered
        except (OSError, TimeoutError):
            socket.abort()
            socket.connection_lost(None)
        while not socket.arrived.done():
            await asyncio.wait((socket.arrived,), timeout=_PING_EVERY_SECS)
            if not socket.arrived.done():
                keep_alive(socket)
        return socket

    def _request(self) -> bytes:
        query = self._query
        if self._is_page:
            query += f"&epoch={self.place.epoch}&offset={self.place.offset}"
        if self.place.token:
            query += f"&reconnect_token={self.place.token}"
        if self._ticket:
            query += f"&{urlencode({'ticket': self._ticket})}"
        return (
            f"GET /ws/ssh?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def _delay_secs(self, socket: TerminalSocket) -> float:
        """Waits until the next attempt; a page checks its clock once a tick."""
        attempts, self._attempts = self._attempts, self._attempts + 1
        if socket.close_code == CloseCode.FENCED and attempts == 0:
            return 0
        tick_secs = random.uniform(0, _TICK_SECS)
        if self._ticket and socket.retry_after_secs:
            return socket.retry_after_secs + tick_secs
        return min(_FIRST_DELAY_SECS * 2.0**attempts, _MAX_DELAY_SECS) * random.uniform(1, 1.2) + tick_secs


class Crowd:
    """Clients that connect to `ports`, each attempt to any of them, with the access tokens of several users.

    The end of its `async with` block cuts their connections; the failure of a client's task ends the block.
    """

    def __init__(self, ports: Sequence[int], access_tokens: Sequence[str]) -> None:
        self.ports = ports
        self._access_tokens = access_tokens
        self.tally = Tally()
        self.clients: list[Client] = []
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    async def open(self, queries: Sequence[dict[str, str | int]], *, pages: float, at_once: int) -> None:
        """Opens a terminal for each query, `at_once` at a time; `pages` is the share of clients that are pages."""
        tokens = itertools.cycle(self._access_tokens)
        waiting = iter([Client(self, query, next(tokens), is_page=random.random() < pages) for query in queries])

        async def open_in_turn() -> None:
            for client in waiting:
                self.clients.append(client)
                self._tasks.append(self._group.create_task(client.live()))
                await client.settled

        await asyncio.gather(*(open_in_turn() for _ in range(at_once)))

    def start_pings(self) -> None:
        """From now on every client pings as a page does on which no user types."""
        self._tasks.append(self._group.create_task(self._ping()))

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECS)
            for client in tuple(self.clients):
                if client.socket is not None:
                    keep_alive(client.socket)
                await asyncio.sleep(_PING_EVERY_SECS / len(self.clients))

    def connected_since(self, began_at: float) -> list[float]:
        """The seconds from then to the connection of each client that has connected since, by the loop's clock."""
        return [each.connected_at - began_at for each in self.clients if each.socket and each.connected_at > began_at]

    def refusals(self) -> Counter[str]:
        """The reasons of clients that do not reconnect."""
        return Counter(each.refusal for each in self.clients if each.refusal)

    async def count_silent(self) -> int:
        """Types a key into every terminal; returns how many do not echo it within some seconds."""
        offsets = {}
        for client in self.clients:
            offsets[client] = client.place.offset
            if client.socket is not None:
                client.socket.type(b"x")
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _ECHO_WITHIN_SECS
        while silent := sum(client.place.offset == offset for client, offset in offsets.items()):
            if loop.time() > give_up_at:
                break
            await asyncio.sleep(0.1)
        return silent


def keep_alive(socket: TerminalSocket) -> None:
    """Pings, or cuts a connection over which nothing has come in answer to the last ones."""
    if asyncio.get_running_loop().time() - socket.heard_at > _PING_EVERY_SECS + _ANSWER_WITHIN_SECS:
        socket.abort()
    else:
        socket.ping()
