"""A viewer's connection outlives changes of its session's owner, and ends for the right reasons only."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from websockets.frames import Close

from netstacks import greenlets
from netstacks.cluster.model import Peer
from netstacks.errors import AccessWithdrawn, ConnectionClosed, Forbidden, RetryLater, SessionGone
from netstacks.instance.finder import Held
from netstacks.peer import relays
from netstacks.peer.owner_socket import Ping
from netstacks.peer.token import PeerPrincipal
from netstacks.terminal import frames, input_writer
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session
from netstacks.terminal.viewer import expel
from netstacks.web.viewers import viewer_connection, watchdog
from netstacks.web.viewers.viewer_connection import SharedSession, ViewerConnection
from netstacks.web.viewers.viewing import ViewerRequest, watch
from tests.terminal.test_session import Client, Room
from tests.waits import until

WAITING = b"waiting for its user to reconnect"


class Ws(Client):
    """A client's connection, whose messages the test brings."""

    on_pong: Callable[[bytes], None] = staticmethod(lambda payload: None)

    def __init__(self) -> None:
        super().__init__()
        self._brought: greenlets.Queue[Any] = greenlets.Queue()
        self.pinged: list[bytes] = []
        self.hung_up = False

    def has_hung_up(self) -> bool:
        return self.hung_up

    def brings(self, message: bytes | None) -> None:
        self._brought.put(message)

    def leaves(self) -> None:
        self._brought.put(ConnectionClosed(1001, ""))

    def receive(self, timeout: float | None = None) -> bytes:
        try:
            message = self._brought.get(timeout=timeout)
        except greenlets.Empty:
            return None  # type: ignore[return-value]
        if isinstance(message, Exception):
            raise message
        return message  # type: ignore[no-any-return]

    def send(self, *messages: bytes) -> None:
        if self.closed:
            raise ConnectionClosed(None, "")
        super().send(*messages)

    def ping(self, payload: bytes) -> None:
        self.pinged.append(payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not self.closed:
            super().close(code, reason)
            self.leaves()

    def abort(self) -> None:
        self.close(1006)


class Owner:
    """An owner elsewhere, in the place of an OwnerSocket."""

    def __init__(self, epoch: int) -> None:
        self.heard: list[bytes] = []
        self.pongs: list[bytes] = []
        self.query: dict[str, list[str]] = {}
        self.close_frame: Close | None = None
        self.is_closed = False
        self._says: greenlets.Queue[Any] = greenlets.Queue()
        self.says(frames.session_info(epoch=epoch, offset=100, cols=80, rows=24))

    def says(self, *events: bytes | Ping | None) -> None:
        for event in events:
            self._says.put(event)

    def closes(self, code: int, reason: str = "") -> None:
        self.close_frame = Close(code, reason)
        self._says.put(None)

    def hang_up(self) -> None:
        self._says.put(None)

    def receive(self) -> Any:
        return self._says.get()

    def send(self, message: bytes) -> None:
        self.heard.append(message)

    def pong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def close(self) -> None:
        self.is_closed = True


class FullOwner(Owner):
    """One that does not take what is typed."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self._hung_up = greenlets.Event()

    def send(self, message: bytes) -> None:
        self._hung_up.wait()
        raise ConnectionClosed(None, "")

    def hang_up(self) -> None:
        self._hung_up.set()
        super().hang_up()


class World:
    """One viewer, and what its look-ups find one after the other."""

    def __init__(self) -> None:
        self.ws = Ws()
        self.places: greenlets.Queue[Any] = greenlets.Queue()
        self.over: str | None = None
        self.is_draining = False
        self.noted: list[str] = []
        self.finder: Any = self

    def find(self, _: uuid.UUID) -> Any:
        place = self.places.get()
        if isinstance(place, Exception):
            raise place
        return Held(uuid.uuid4(), Peer("a", "10.0.0.7:7000"), 1) if isinstance(place, Owner) else place

    find_later = find

    def leads_to(self, *places: Any) -> None:
        for place in places:
            if isinstance(place, Owner):
                self.owners.append(place)
            self.places.put(place)

    def proxy_viewer(self, held: Held, principal: PeerPrincipal, upgrade: Any) -> Any:
        owner = self.owners.pop(0)
        owner.query = parse_qs(upgrade.query)
        return owner

    def call(self, permission: Any = "read-write") -> ViewerRequest:
        principal = PeerPrincipal("viewer", permission, None, "guest", None, str(uuid.uuid4()), 1, 2**31)
        return ViewerRequest(
            principal, uuid.uuid4(), lambda: self.over, lambda event, *_, **__: self.noted.append(event)
        )

    def serve_at_owner(self, session: Session, **checks: Any) -> Ws:
        """As another instance brings it here; `checks` replace members of the request."""
        resume = Resume(None, None, tail=True)
        self.served = greenlets.spawn("served", watch, self.ws, replace(self.call(), **checks), session, resume)
        return self.ws

    def serve(self, permission: Any = "read-write", *, speaks_offsets: bool = True, **checks: Any) -> Ws:
        self.owners: list[Owner] = []
        asked = replace(self.call(permission), **checks)
        shared = SharedSession(uuid.uuid4(), self, lambda: self.is_draining)  # type: ignore[arg-type]
        connection = ViewerConnection(self.ws, shared, asked, speaks_offsets=speaks_offsets)  # type: ignore[arg-type]
        self.served = greenlets.spawn("served", self._run, connection)
        return self.ws

    @staticmethod
    def _run(connection: ViewerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            connection.run()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(viewer_connection, "OwnerSocket", lambda upstream, handshake: upstream)
    # An earlier test may have left relays behind.
    monkeypatch.setattr(relays, "_active", set())
    world = World()
    yield world
    world.ws.leaves()
    world.served.join(30)
    assert world.served.ready()
    assert relays.owners() == set()


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.mark.parametrize("loss", [None, CloseCode.RESTARTING, CloseCode.FENCED])
def test_a_viewer_goes_on_at_the_next_owner_from_where_it_was(world: World, loss: CloseCode | None) -> None:
    ws, first, second = world.serve(), Owner(1), Owner(2)
    world.leads_to(first)
    first.says(frames.data(b"output"))
    until(lambda: ws.payload() == b"output")
    assert first.query["offset"] == ["tail"]
    assert "returns" not in first.query
    if loss is None:
        first.hang_up()
    else:
        first.closes(loss)
    until(lambda: WAITING in ws.payload(frames.FrameType.NOTICE))
    ws.brings(b"\x03")
    ws.brings(b"\x01typed too late")
    until(lambda: frames.PONG in ws.frames)
    world.leads_to(RetryLater("not yet"), second)
    until(lambda: second.query)
    assert {name: second.query[name] for name in ("epoch", "offset", "returns")} == {
        "epoch": ["1"], "offset": ["106"], "returns": ["yes"],
    }  # fmt: skip
    assert second.query["viewer"] == first.query["viewer"]
    ws.brings(b"\x01key")
    until(lambda: second.heard == [b"\x01key"])
    assert first.is_closed
    assert ws.closed is None
    assert ws.payload(frames.FrameType.NOTICE).count(WAITING) == 1


def test_a_refusal_that_will_pass_is_not_shown(world: World) -> None:
    ws, busy, next_one = world.serve(), Owner(1), Owner(1)
    busy._says = greenlets.Queue()
    busy.says(frames.error("the session has just moved or ended"))
    busy.closes(CloseCode.RESTARTING)
    world.leads_to(busy, next_one)
    until(lambda: ws.frames)
    assert ws.frames[0][0] == frames.FrameType.SESSION_INFO
    assert len(ws.frames) == 1


@pytest.mark.parametrize("code", [CloseCode.REFUSED, CloseCode.ENDED, CloseCode.SUPERSEDED, CloseCode.INTERNAL_ERROR])
def test_an_end_is_passed_on_with_its_words(world: World, code: CloseCode) -> None:
    ws, owner = world.serve(), Owner(1)
    world.leads_to(owner)
    owner.says(frames.error("as it is"))
    owner.closes(code, "the reason")
    until(lambda: ws.closed)
    assert ws.closed == (code, "the reason")
    assert frames.error("as it is") in ws.frames


def test_a_session_that_has_ended_is_told(world: World) -> None:
    ws = world.serve()
    world.leads_to(RetryLater("not yet"), SessionGone("it has ended: nobody came back"))
    until(lambda: ws.closed)
    assert ws.closed[0] == CloseCode.ENDED
    assert frames.error("it has ended: nobody came back") in ws.frames


def test_pings_of_the_owner_are_the_viewers_to_answer(world: World) -> None:
    ws, owner = world.serve(), Owner(1)
    world.leads_to(owner)
    payload = (100).to_bytes(8, "big")
    owner.says(Ping(payload))
    until(lambda: ws.pinged == [payload])
    assert owner.pongs == []
    ws.on_pong(payload)
    # That one was this instance's own.
    ws.on_pong(b"")
    assert owner.pongs == [payload]


def test_a_read_only_viewer_types_nothing_at_an_owner_elsewhere(world: World) -> None:
    ws, owner = world.serve("read-only"), Owner(1)
    world.leads_to(owner)
    until(lambda: ws.frames)
    ws.brings(b"\x01intruder")
    ws.brings(b"\x03")
    until(lambda: owner.heard)
    assert owner.heard == [frames.PING]


def test_the_owner_answers_a_viewer_that_asks_whether_it_is_there(world: World) -> None:
    ws, owner = world.serve(), Owner(1)
    world.leads_to(owner)
    until(lambda: ws.frames)
    ws.brings(b"\x03")
    until(lambda: owner.heard == [frames.PING])
    assert frames.PONG not in ws.frames
    owner.says(frames.PONG)
    until(lambda: frames.PONG in ws.frames)


def test_a_viewer_of_a_session_that_is_fenced_here_goes_on_elsewhere(world: World, room: Room) -> None:
    ws, owner = world.serve(), Owner(2)
    world.leads_to(room.session)
    until(lambda: room.session.attachments)
    room.device.says(b"output")
    until(lambda: ws.payload() == b"output")
    room.session.fence()
    until(lambda: WAITING in ws.payload(frames.FrameType.NOTICE))
    assert room.session.attachments == []
    world.leads_to(owner)
    until(lambda: owner.query)
    assert (owner.query["epoch"], owner.query["offset"]) == (["1"], ["6"])
    assert ws.closed is None
    assert world.noted == ["session.viewer_joined", "session.viewer_left"]


def test_a_viewer_of_a_session_that_ends_here_is_told(world: World, room: Room) -> None:
    ws = world.serve()
    world.leads_to(room.session)
    until(lambda: room.session.attachments)
    room.session.end("the device hung up")
    until(lambda: ws.closed)
    assert ws.closed == (CloseCode.ENDED, "the device hung up")
    assert frames.CLOSE in ws.frames


def test_a_viewer_types_no_answers_into_the_device(world: World, room: Room) -> None:
    ws = world.serve()
    world.leads_to(room.session)
    until(lambda: room.session.attachments)
    for typed in (b"\x01ls\r", b"\x01\x1b[?1;2c", b"\x01\x1b[A"):
        ws.brings(typed)
    until(lambda: room.device.typed.endswith(b"A"))
    assert room.device.typed == b"ls\r\x1b[A"


def test_a_share_that_is_over_ends_a_waiting_viewer(world: World) -> None:
    ws = world.serve()
    world.over = "this share was revoked by ana"
    world.leads_to(RetryLater("not yet"))
    until(lambda: ws.closed)
    assert ws.closed == (CloseCode.REFUSED, "this share was revoked by ana")
    assert frames.error("this share was revoked by ana") in ws.frames


def test_a_share_that_was_revoked_on_the_way_ends_at_once(world: World, room: Room) -> None:
    ws = world.serve()
    world.over = "this share was revoked by ana"
    world.leads_to(room.session)
    until(lambda: ws.closed)
    assert ws.closed[0] == CloseCode.REFUSED
    until(lambda: room.session.attachments == [])


def test_a_viewer_that_leaves_during_the_lookup_does_not_join(world: World, room: Room) -> None:
    ws = world.serve()
    greenlets.sleep(0.01)
    ws.leaves()
    world.served.join(30)
    world.leads_to(room.session)
    greenlets.sleep(0.01)
    assert world.noted == []


def test_a_viewer_that_has_left_causes_no_dial_and_no_lookup(world: World) -> None:
    ws = world.serve()
    greenlets.sleep(0.01)
    ws.leaves()
    world.served.join(30)
    owner, another = Owner(1), Owner(2)
    world.leads_to(owner, another)
    greenlets.sleep(0.01)
    assert owner.query == another.query == {}
    # The lookup that was under way has returned; no further one has begun.
    assert world.places.qsize() == 1


def test_a_viewer_that_is_sent_away_while_it_joins_does_not_stay_attached(world: World, room: Room) -> None:
    asked, may_answer = greenlets.Event(), greenlets.Event()

    def over() -> None:
        asked.set()
        may_answer.wait(30)

    ws = world.serve(over=over)
    world.leads_to(room.session)
    assert asked.wait(30)
    ws.brings(b"\xff not a frame")
    until(lambda: ws.closed)
    may_answer.set()
    until(lambda: world.noted == ["session.viewer_joined", "session.viewer_left"])
    assert room.session.attachments == []
    greenlets.sleep(0.01)
    assert room.session.attachments == []


def test_a_viewer_whose_share_is_revoked_while_it_is_checked_does_not_join(world: World, room: Room) -> None:
    """The check has read the row before the revocation, which cannot end a view that does not exist yet."""
    reasons = ["this share was revoked by ana", None]

    def over() -> str | None:
        reason = reasons.pop() if len(reasons) > 1 else reasons[0]
        if reason is None:
            expel(room.session, [], "this share was revoked by ana")
        return reason

    ws = world.serve_at_owner(room.session, over=over)
    until(lambda: ws.closed)
    assert ws.closed == (CloseCode.REFUSED, "this share was revoked by ana")
    assert world.noted == []
    assert [frame for frame in ws.frames if frame[0] == frames.FrameType.SESSION_INFO] == []


def test_a_viewer_whose_access_is_withdrawn_while_it_is_checked_does_not_join(world: World, room: Room) -> None:
    def confirm() -> None:
        raise AccessWithdrawn("your access was withdrawn")

    ws = world.serve_at_owner(room.session, confirm=confirm)
    until(lambda: ws.closed)
    assert ws.closed == (CloseCode.ENDED, "your access was withdrawn")
    assert world.noted == []


def test_a_draining_instance_closes_waiting_and_relayed_viewers(world: World) -> None:
    ws, owner = world.serve(), Owner(1)
    world.leads_to(owner)
    until(lambda: ws.frames)
    world.is_draining = True
    relays.hang_up()
    until(lambda: ws.closed)
    assert ws.closed == (CloseCode.RESTARTING, "the controller is restarting")
    assert WAITING not in ws.payload(frames.FrameType.NOTICE)


def test_a_relay_watch_hangs_up_on_the_owner_and_not_on_the_viewer(world: World) -> None:
    ws, owner = world.serve(), Owner(1)
    world.leads_to(owner)
    until(lambda: ws.frames)
    (peer,) = relays.owners()
    relays.hang_up(peer)
    until(lambda: WAITING in ws.payload(frames.FrameType.NOTICE))
    assert relays.owners() == set()
    assert ws.closed is None


def test_a_bug_closes_the_connection(world: World) -> None:
    ws = world.serve()
    world.leads_to(RuntimeError("a bug"))
    until(lambda: ws.closed)
    assert ws.closed[0] == CloseCode.INTERNAL_ERROR


def test_a_viewer_without_a_slot_is_refused(world: World) -> None:
    ws = world.serve()
    world.leads_to(Forbidden("as many as may are watching already"))
    until(lambda: ws.closed)
    assert ws.closed[0] == CloseCode.REFUSED


def test_a_client_is_pinged_and_given_up_when_it_is_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECS", 0.01)
    ws = world.serve()
    until(lambda: b"" in ws.pinged and frames.PING in ws.frames)
    assert ws.closed is None
    monkeypatch.setattr("netstacks.web.viewers.viewer_client.KEEPALIVE_SECS", 0.0)
    until(lambda: ws.closed)
    assert ws.closed[0] == 1006


@pytest.fixture
def full_room(room: Room, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A session whose device takes nothing, and in which nothing more may wait for it after two keys."""
    monkeypatch.setattr(input_writer, "TYPED_BYTES", 1)
    room.device.takes_nothing()
    return room


@pytest.fixture(params=["here", "elsewhere"])
def waiting(request: pytest.FixtureRequest, world: World, full_room: Room, monkeypatch: pytest.MonkeyPatch) -> Ws:
    """A viewer that has typed into a full session."""
    monkeypatch.setattr(watchdog, "LOOK_SECS", 0.01)
    ws = world.serve()
    world.leads_to(full_room.session if request.param == "here" else FullOwner(1))
    until(lambda: ws.frames)
    for key in (b"a", b"b", b"c"):
        ws.brings(frames.data(key))
    ws.brings(frames.PING)
    pings = len(ws.pinged)
    until(lambda: len(ws.pinged) > pings)
    assert frames.PONG not in ws.frames
    return ws


def test_a_viewer_that_waits_to_type_is_sent_away_when_its_share_is_over(
    world: World, full_room: Room, waiting: Ws
) -> None:
    world.over = "this share was revoked by ana"
    until(lambda: waiting.closed)
    assert waiting.closed == (CloseCode.REFUSED, "this share was revoked by ana")
    world.served.join(30)
    assert world.served.ready()
    assert full_room.session.attachments == []
    full_room.device.takes_on()
    until(lambda: full_room.device.typed in (b"", b"ab"))
    greenlets.sleep(0.01)
    assert b"c" not in full_room.device.typed


def test_a_viewer_that_waits_to_type_is_given_up_when_it_is_gone(
    world: World, full_room: Room, waiting: Ws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netstacks.web.viewers.viewer_client.KEEPALIVE_SECS", 0.0)
    until(lambda: waiting.closed)
    assert waiting.closed[0] == 1006
    until(lambda: full_room.session.attachments == [])


def test_a_viewer_at_its_owner_is_looked_after_while_it_waits_to_type(
    world: World, full_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOOK_SECS", 0.01)
    ws = world.serve_at_owner(full_room.session)
    until(lambda: full_room.session.attachments)
    for key in (b"a", b"b", b"c"):
        ws.brings(frames.data(key))
    pings = ws.frames.count(frames.PING)
    until(lambda: ws.frames.count(frames.PING) > pings)
    world.over = "this share was revoked by ana"
    until(lambda: ws.closed)
    assert ws.closed[0] == CloseCode.REFUSED
    assert full_room.session.attachments == []
