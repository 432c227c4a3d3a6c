"""The hub's drain: the order of the handovers, and which sessions are waited for."""

import time
import uuid
from dataclasses import replace

import pytest

from netstacks import greenlets
from netstacks.errors import RetryLater
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Recording
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.pool import Database
from netstacks.terminal import hub as module
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.charset import Charset
from netstacks.terminal.hub import Hub
from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.session import Session
from netstacks.terminal.session_facts import SessionFacts
from tests.terminal.test_session import Client, Device
from tests.waits import until

PATIENCE_SECS, PER_SEC = 600.0, 20.0


@pytest.fixture
def gone() -> list[str]:
    """The devices of the sessions that were handed over, in order."""
    return []


@pytest.fixture
def changed() -> list[tuple[str, str]]:
    """The device and the state of each session whose client came or left, in order."""
    return []


@pytest.fixture
def hub(gone: list[str], changed: list[tuple[str, str]]) -> Hub:
    return Hub(
        DeferredWrites(Database("postgresql://nobody@127.0.0.1:1/x")),
        detach_ttl_secs=600,
        close_grace_secs=100,
        on_gone=lambda session: gone.append(session.facts.device_name),
        on_changed=lambda session: changed.append((session.facts.device_name, session.record().state)),
    )


def add(
    hub: Hub,
    name: str,
    *,
    attached: bool,
    silent_secs: float,
    recorder: Recorder | None = None,
    user_id: uuid.UUID | None = None,
    device_id: uuid.UUID | None = None,
) -> Session:
    """A session whose device printed last `silent_secs` ago."""
    recorder = recorder or Recorder(Database("postgresql://nobody@127.0.0.1:1/x"))
    session_id, user_id = uuid.uuid4(), user_id or uuid.uuid4()
    recording = Recording(recorder, session_id, 1, on_room=lambda: None, on_fenced=lambda: None)
    recording.printed_at = time.monotonic() - silent_secs
    session = Session(
        SessionFacts(session_id, 1, "ctrl-1", user_id, "ana", device_id, name, "192.0.2.1", 22, None, uuid.uuid4()),
        Device(),
        recording,
        OutputLog(1000),
        size=(80, 24),
        charset=Charset(),
        read_stored=lambda *_: b"",
        hooks=hub.hooks,
    )
    hub.add(session)
    if attached:
        session.attach(Attachment(Client(), Kind.CONTROL, user_id=user_id, username="ana"), 0)
    return session


def test_a_closed_terminal_is_waited_for_during_the_grace_and_a_lost_one_during_the_ttl(
    hub: Hub, gone: list[str]
) -> None:
    # The two that stay have a minute left, for a machine that pauses.
    cases = [("closed", True, 101), ("just closed", True, 40), ("lost", False, 540), ("lost for good", False, 601)]
    for name, was_left, away_secs in cases:
        session = add(hub, name, attached=True, silent_secs=0)
        assert session.control is not None
        session.detach(session.control, was_left=was_left)
        session.detached_at -= away_secs
    hub.expire_detached()
    assert gone == ["closed", "lost for good"]


def test_a_user_that_returns_after_a_close_is_waited_for_like_any_other(hub: Hub, gone: list[str]) -> None:
    session = add(hub, "r1", attached=True, silent_secs=0)
    assert session.control is not None
    session.detach(session.control, was_left=True)
    again = Attachment(Client(), Kind.CONTROL, user_id=session.facts.user_id, username="ana")
    session.attach(again, 0)
    session.detach(again)
    session.detached_at -= 300
    hub.expire_detached()
    assert gone == []


def test_a_client_that_comes_or_leaves_changes_its_session_and_a_viewer_does_not(
    hub: Hub, changed: list[tuple[str, str]]
) -> None:
    session = add(hub, "r1", attached=True, silent_secs=0)
    viewer = Attachment(Client(), Kind.VIEWER, user_id=None, username="bo")
    session.attach(viewer, 0)
    session.detach(viewer)
    assert changed == [("r1", "active")]
    assert session.control is not None
    session.detach(session.control)
    assert changed == [("r1", "active"), ("r1", "detached")]


def test_a_session_that_has_ended_changes_no_more_when_its_socket_closes(
    hub: Hub, gone: list[str], changed: list[tuple[str, str]]
) -> None:
    """Its entry in the registry would come back, and stay."""
    session = add(hub, "r1", attached=True, silent_secs=0)
    control = session.control
    assert control is not None
    session.end("the device has closed the connection")
    session.detach(control)
    assert (gone, changed) == (["r1"], [("r1", "active")])


def test_nothing_to_hand_over_takes_no_time(hub: Hub, gone: list[str]) -> None:
    hub.hand_over_all("restarting", PATIENCE_SECS, PER_SEC)
    assert gone == []


def test_detached_sessions_go_first_then_idle_ones_without_a_wait_after_the_last(hub: Hub, gone: list[str]) -> None:
    add(hub, "idle", attached=True, silent_secs=60)
    add(hub, "away", attached=False, silent_secs=0)
    drain = greenlets.spawn("drain", hub.hand_over_all, "restarting", PATIENCE_SECS, PER_SEC)
    drain.join(30)
    assert drain.successful()
    assert gone == ["away", "idle"]


@pytest.fixture
def slow_to_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that goes on printing does not count as idle while this machine pauses."""
    monkeypatch.setattr(module, "IDLE_SECS", 30.0)


@pytest.mark.usefixtures("slow_to_idle")
def test_a_device_that_prints_may_finish(hub: Hub, gone: list[str]) -> None:
    busy = add(hub, "busy", attached=True, silent_secs=0)
    add(hub, "idle", attached=True, silent_secs=60)
    drain = greenlets.spawn("drain", hub.hand_over_all, "restarting", PATIENCE_SECS, PER_SEC)
    while gone != ["idle"]:
        busy.recording.output(b".")
        greenlets.sleep(0.01)
    assert hub.find(busy.id) is busy
    busy.recording.printed_at -= 2 * module.IDLE_SECS
    drain.join(30)
    assert gone == ["idle", "busy"]


def test_a_device_that_never_stops_printing_is_handed_over_in_the_end(hub: Hub, gone: list[str]) -> None:
    busy = add(hub, "busy", attached=True, silent_secs=0)
    drain = greenlets.spawn("drain", hub.hand_over_all, "restarting", 0.5, PER_SEC)
    while not drain.ready():
        busy.recording.printed_at = time.monotonic()
        greenlets.sleep(0.01)
    assert gone == ["busy"]


def test_terminals_in_use_are_handed_over_before_idle_ones_and_a_users_tenth_after_everybodys_first(
    hub: Hub, gone: list[str]
) -> None:
    many = uuid.uuid4()
    for number in range(10):
        session = add(hub, f"many-{number}", attached=True, silent_secs=5)
        session.facts = replace(session.facts, user_id=many, started_at=float(number))
    add(hub, "idle", attached=True, silent_secs=600)
    add(hub, "in use", attached=True, silent_secs=5)
    hub.hand_over_all("restarting", PATIENCE_SECS, 1e6)
    assert gone[-2:] == ["idle", "many-9"]
    assert set(gone[:2]) == {"many-0", "in use"}


def test_a_drain_without_the_time_for_its_pace_is_done_in_time(hub: Hub, gone: list[str]) -> None:
    for number in range(20):
        add(hub, f"idle-{number}", attached=True, silent_secs=60)
    drain = greenlets.spawn("drain", hub.hand_over_all, "restarting", 0.2, 0.001)
    drain.join(30)
    assert len(gone) == 20


def test_a_session_that_comes_after_a_drain_has_begun_is_refused(hub: Hub) -> None:
    """The drain may have looked for the last time: it would be neither handed over nor stored."""
    hub.hand_over_all("the controller is restarting", PATIENCE_SECS, PER_SEC)
    with pytest.raises(RetryLater, match="restarting"):
        add(hub, "late", attached=False, silent_secs=0)
    assert len(hub) == 0


@pytest.mark.usefixtures("slow_to_idle")
def test_a_cancelled_drain_keeps_the_sessions_that_were_not_handed_over(hub: Hub, gone: list[str]) -> None:
    busy = add(hub, "busy", attached=True, silent_secs=0)
    add(hub, "idle", attached=True, silent_secs=60)
    is_cancelled = False

    def hand_over() -> None:
        hub.hand_over_all("restarting", PATIENCE_SECS, PER_SEC, is_cancelled=lambda: is_cancelled)

    drain = greenlets.spawn("drain", hand_over)
    while gone != ["idle"]:
        busy.recording.output(b".")
        greenlets.sleep(0.01)
    is_cancelled = True
    drain.join(30)
    assert drain.successful()
    assert busy.is_live
    with pytest.raises(RetryLater, match="restarting"):
        add(hub, "early", attached=False, silent_secs=0)
    hub.reopen()
    add(hub, "new", attached=False, silent_secs=0)
    assert gone == ["idle"]


def test_a_drain_that_was_cancelled_before_it_began_hands_over_nothing(hub: Hub, gone: list[str]) -> None:
    add(hub, "away", attached=False, silent_secs=0)
    add(hub, "idle", attached=True, silent_secs=60)
    hub.hand_over_all("restarting", PATIENCE_SECS, PER_SEC, is_cancelled=lambda: True)
    assert gone == []


def test_a_user_who_is_away_is_told_everything_at_the_return(hub: Hub) -> None:
    session = add(hub, "r1", attached=False, silent_secs=60)
    session.tell_user("administrator ana may watch this session")
    session.tell_user("and so may bo")
    client = Client()
    session.attach(Attachment(client, Kind.CONTROL, user_id=session.facts.user_id, username="ana"), 0)
    until(lambda: client.frames, "the notice")
    assert b"[administrator ana may watch this session; and so may bo]" in b"".join(client.frames)
