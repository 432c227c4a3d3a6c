"""The standing crowd: idle sessions whose clients come back as our page does whenever they lose their instance."""

import asyncio
import threading
import time
import uuid
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from bench.cheap_sshd import CheapSshd
from bench.crowd_clients import Client, Crowd, Tally, keep_alive
from bench.crowd_socket import TerminalSocket
from netstacks.store import sessions
from netstacks.store.pool import Database
from netstacks.terminal.frames import CloseCode
from tests.controller import Api, terminal_query
from tests.torture.device import Owners
from tests.torture.history import Connection, CrowdMember, Shell, Told
from tests.torture.laws_of_the_crowd import the_crowd_is_whole

SIZE = 200
# How many devices are added, and how many terminals are opened, at a time.
_ADDED_AT_ONCE, _OPENED_AT_ONCE = 4, 8
_OPEN_SECS = 120
# Until all are back after the last fault: the longest pause of a client, its turn in the queue, and a busy machine.
SETTLE_SECS = 90
_LOOK_SECS = 0.25
# An idle client pings every so many looks. One that has heard nothing for longer was not served meanwhile.
_LOOKS_PER_PING, _SILENT_SECS = 12, 5.0
_ECHO_SECS = 15
_TOLD_THE_END = f"{CloseCode.ENDED.value}:"
_KEY, _END_OF_INPUT = b"x", b"\x04"
_Answer = TypeVar("_Answer")


class _Member:
    """One client, and when it was served. Only the thread of the loop uses it."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = name
        self.client = client
        self.first_token = client.place.token
        self.connections: list[Connection] = []
        self.told: Told | None = None
        self._socket: TerminalSocket | None = None
        self._epoch, self._began_at = 0, 0.0

    @property
    def is_connected(self) -> bool:
        """To the session that it opened first."""
        return self.client.socket is not None and self.client.place.token == self.first_token

    def look(self) -> None:
        """Notes whether a connection has begun or ended since the last look."""
        if self.client.socket is not self._socket:
            self.part()
            self._socket = self.client.socket
            self._epoch, self._began_at = self.client.place.epoch, time.time()
        if self.client.refusal.startswith(_TOLD_THE_END) and self.told is None:
            self.told = Told(self.name, time.time(), self.client.refusal)

    def part(self) -> None:
        """Notes the connection, which ends now."""
        socket, self._socket = self._socket, None
        if socket is None:
            return
        silent_secs = asyncio.get_running_loop().time() - socket.heard_at
        self.connections.append(
            Connection(
                client=self.name,
                session=self.name,
                asked=(0, 0),
                epoch=self._epoch,
                offset=0,
                output=b"",
                began_at=self._began_at,
                ended_at=time.time() - (silent_secs if silent_secs > _SILENT_SECS else 0),
            )
        )


class StandingCrowd(threading.Thread):
    """Every member has a session at a device of its own, so a connection to that device is one to its session.

    `ports` are those of all instances, dead ones too: each attempt goes to any of them. Half of the clients are blind.
    """

    def __init__(self, api: Api, sshd: CheapSshd, ports: Sequence[int]) -> None:
        super().__init__(name="standing crowd", daemon=True)
        self.members: tuple[CrowdMember, ...] = ()
        """What `settle` has found."""
        self.session_ids: dict[str, str] = {}
        self.connections: list[Connection] = []
        self.told: list[Told] = []
        self.farewells: list[Shell] = []
        """Diaries of the shells that were told to end, as far as the judge needs them."""
        self.failure: BaseException | None = None
        self._sshd = sshd
        self._crowd_of = ports, [api.token]
        self._hosts = {f"standing-{n}": f"127.1.1.{1 + n}" for n in range(SIZE)}
        self._queries = _add_devices(api, sshd, self._hosts)
        self._members: list[_Member] = []
        self._is_open = threading.Event()

    def open(self) -> None:
        """Returns when all have their terminals. Raises AssertionError when one has not."""
        self.start()
        assert self._is_open.wait(_OPEN_SECS), "the standing crowd could not be opened in time"
        assert self.failure is None, f"the standing crowd could not be opened: {self.failure!r}"
        refused = [each.client.refusal for each in self._members if not each.is_connected]
        assert not refused, f"the standing crowd could not be opened: {refused}"

    def run(self) -> None:
        try:
            asyncio.run(self._live())
        except Exception as error:
            self.failure = error
        finally:
            self._is_open.set()

    @property
    def tally(self) -> Tally:
        """The number of attempts that led to no terminal."""
        return self._crowd.tally

    async def _live(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        async with Crowd(*self._crowd_of) as crowd:
            self._crowd = crowd
            await crowd.open(self._queries, pages=0.5, at_once=_OPENED_AT_ONCE)
            self._members = [_Member(*each) for each in zip(self._hosts, crowd.clients, strict=True)]
            self._look(0)
            self._is_open.set()
            looks = 0
            while not self._stopping.is_set():
                await asyncio.sleep(_LOOK_SECS)
                looks += 1
                self._look(looks)
            for member in self._members:
                member.part()

    def _look(self, looks: int) -> None:
        for number, member in enumerate(self._members):
            member.look()
            if member.client.socket is not None and (looks + number) % _LOOKS_PER_PING == 0:
                keep_alive(member.client.socket)

    def settle(self, owners: Owners, database_url: str) -> None:
        """In the calm: waits until no law about the crowd is broken, not without limit, and keeps what there is."""
        give_up_at = time.monotonic() + SETTLE_SECS
        while self.failure is None:
            self.members = self._inspect(owners, database_url)
            if time.monotonic() > give_up_at or not [*the_crowd_is_whole(self.members)]:
                return
            time.sleep(1)

    def _inspect(self, owners: Owners, database_url: str) -> tuple[CrowdMember, ...]:
        alive = self._find_alive(database_url)
        echoing = self._call(self._find_echoing(alive))
        holders = owners.holders(self._sshd.port)
        return tuple(
            CrowdMember(
                each.name,
                has_ended=each.name not in alive,
                is_connected=each.is_connected,
                echoes=each.name in echoing,
                refusal=each.client.refusal,
                holders=tuple(holders.get(self._hosts[each.name], ())),
            )
            for each in self._members
        )

    def _find_alive(self, database_url: str) -> set[str]:
        """The members whose sessions have not ended; all sessions are named meanwhile."""
        alive: set[str] = set()
        database = Database(database_url)
        database.open()
        try:
            with database.transaction() as tx:
                for member in self._members:
                    row = sessions.find_by_token(tx, uuid.UUID(member.first_token))
                    assert row is not None, f"the session of {member.name} has no row"
                    self.session_ids[member.name] = str(row.id)
                    if row.state != "ended":
                        alive.add(member.name)
        finally:
            database.close()
        return alive

    async def _find_echoing(self, names: set[str]) -> set[str]:
        """Types a key into every terminal that there is; returns the members to which something came back."""
        before = {each: each.client.place.offset for each in self._members if each.name in names and each.is_connected}
        for member in before:
            if member.client.socket is not None:
                member.client.socket.type(_KEY)
        give_up_at = self._loop.time() + _ECHO_SECS
        while True:
            echoing = {each.name for each, offset in before.items() if each.client.place.offset > offset}
            if len(echoing) == len(before) or self._loop.time() > give_up_at:
                return echoing
            await asyncio.sleep(0.1)

    def say_bye(self) -> None:
        """Ends the sessions that live and are connected."""
        names = {each.session for each in self.members if each.is_connected and not each.has_ended}
        self._call(self._type_end_of_input(names))
        self.farewells = [Shell(name, name, 0.0, None, b"", said_bye=True) for name in names]

    async def _type_end_of_input(self, names: set[str]) -> None:
        for member in self._members:
            if member.name in names and member.client.socket is not None:
                member.client.socket.type(_END_OF_INPUT)

    def stop(self) -> None:
        """Cuts the connections that there still are."""
        if self.failure is None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self.join(60)
        self.connections = [connection for each in self._members for connection in each.connections]
        bidden = {each.session for each in self.farewells}
        self.told = [each.told for each in self._members if each.told is not None and each.name not in bidden]

    def _call(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


def _add_devices(api: Api, sshd: CheapSshd, hosts: dict[str, str]) -> list[dict[str, str | int]]:
    """The members' queries for their first connections."""
    credential = api.add_credential(sshd.user, sshd.password)
    key = sshd.host_key_type, sshd.host_key_base64

    def add(name: str) -> dict[str, str | int]:
        return terminal_query(api.add_device(hosts[name], sshd.port, host_key=key, name=name), credential)

    with ThreadPoolExecutor(_ADDED_AT_ONCE) as pool:
        return list(pool.map(add, hosts))
