"""The judge finds each violation that is planted in a history that was without any."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from netstacks.recording.chunks import Chunk, Event, EventKind, make_chunk
from tests.torture.history import Connection, CrowdMember, Fault, History, Hold, Recording, Shell, Told
from tests.torture.judge import judge

FIRST = b"shell one\r\nline 1\r\ngot 1\r\n"
SECOND = b"shell two\r\nline 1\r\ngot 3\r\n"
BASE = len(FIRST) - 2
SESSION = uuid.uuid4()


def chunk(previous: Chunk | None, epoch: int, output: bytes) -> Chunk:
    seq = previous.seq + 1 if previous and previous.epoch == epoch else 0
    sha256, offset = (previous.sha256, previous.end_offset) if previous else (b"", 0)
    return make_chunk(sha256, SESSION, epoch, seq, offset, [Event(1.0, EventKind.OUTPUT, output)])


# Two bytes of the first owner were never stored; a client has seen one of them.
ONE = chunk(None, 1, FIRST[:-2])
TWO = chunk(ONE, 2, SECOND[:5])
THREE = chunk(TWO, 2, SECOND[5:])
SHELLS = (Shell("one", "s", 100, "a", FIRST, (1,)), Shell("two", "s", 120, "b", SECOND, (3,), said_bye=True))
CONNECTIONS = (
    Connection("ana", "s", (0, 0), 1, 0, FIRST[:5], typed=(1, 2), began_at=100, ended_at=105),
    Connection("ana", "s", (1, 5), 1, 5, FIRST[5:-1], began_at=106, ended_at=118),
    Connection(
        "ana", "s", (1, len(FIRST) - 1), 2, BASE, SECOND, b"a new shell", (3,), True, began_at=120, ended_at=130
    ),
    Connection("bob", "s", None, 2, BASE - 3, FIRST[-5:-2] + SECOND[:20], began_at=121, ended_at=129),
)
RECORDING = Recording("s", "id", (ONE, TWO, THREE), "ended", "exit", frozenset({(1, 0, ONE.sha256)}), 130)
GOOD = History(SHELLS, CONNECTIONS, (RECORDING,), (Fault("kill", "a", 117, 119),))


def connection(number: int, **changes: Any) -> History:
    changed = list(CONNECTIONS)
    changed[number] = replace(changed[number], **changes)
    return replace(GOOD, connections=tuple(changed))


def shell(number: int, **changes: Any) -> History:
    changed = list(SHELLS)
    changed[number] = replace(changed[number], **changes)
    return replace(GOOD, shells=tuple(changed))


def recording(**changes: Any) -> History:
    return replace(GOOD, recordings=(replace(RECORDING, **changes),))


def test_a_history_in_which_all_promises_were_kept_has_no_violation() -> None:
    assert judge(GOOD) == []


RIVAL = Shell("three", "s", 121, "c", b"shell three\r\n")
FROZEN = Fault("freeze", "a", 110, 115)
KILLED = GOOD.faults[0]
PATIENT = replace(GOOD, detach_ttl_secs=8)
AWAY = "its user did not come back within 8 s"


def ended_by_absence(at: float, reason: str = AWAY, **changes: Any) -> History:
    """Its user has not said goodbye, and was last seen at 130."""
    gone = (*CONNECTIONS[:2], replace(CONNECTIONS[2], is_last=False, leaves=True), CONNECTIONS[3])
    silent = (SHELLS[0], replace(SHELLS[1], said_bye=False))
    ended = replace(RECORDING, end_reason=reason, ended_at=at)
    return replace(PATIENT, **{"shells": silent, "connections": gone, "recordings": (ended,), **changes})


def come_back(at: float) -> tuple[Connection, ...]:
    """Its user has been away since 118."""
    return (*CONNECTIONS[:2], replace(CONNECTIONS[2], began_at=at, ended_at=at + 1))


IN_CROWD = CrowdMember("i", holders=("c",))
ENDED_IN_CROWD = replace(IN_CROWD, has_ended=True, is_connected=False, echoes=False, holders=())


def crowd(member: CrowdMember, **changes: Any) -> History:
    """Its session is ended in the calm, unless it has ended before by its user's absence since 110."""
    seen = Connection("i", "i", (0, 0), 1, 0, b"", began_at=100, ended_at=110 if member.has_ended else 125)
    shells = () if member.has_ended else (Shell("i", "i", 0, None, b"", said_bye=True),)
    ended = Recording("i", "id", (ONE,), "ended", AWAY if member.has_ended else "exit", ended_at=125)
    given = {
        "shells": (*SHELLS, *shells),
        "connections": (*CONNECTIONS, seen),
        "recordings": (RECORDING, ended),
        "detach_ttl_secs": 8,
        "crowd": (member,),
    }
    return replace(GOOD, **{**given, **changes})


@pytest.mark.parametrize(
    ("history", "violation"),
    [
        (
            replace(
                GOOD,
                shells=(*SHELLS, RIVAL),
                connections=(*CONNECTIONS, Connection("eve", "s", (1, 0), 2, BASE, RIVAL.printed)),
            ),
            "more than one owner",
        ),
        (replace(GOOD, connections=(*CONNECTIONS, CONNECTIONS[1])), "epoch 1 after 2"),
        (connection(2, output=SECOND[:7] + SECOND[8:]), "was seen"),
        (connection(3, output=FIRST[-5:-2] + SECOND[:9] + SECOND[10:20]), "was seen"),
        (connection(2, output=SECOND[:20] + SECOND[10:]), "was seen"),
        (connection(2, output=SECOND[:-4]), "never came"),
        (connection(1, offset=4, output=FIRST[4:-1]), "came twice"),
        (connection(1, offset=6, output=FIRST[6:-1]), "left out silently"),
        (shell(0, read=(1, 1)), "out of order or twice"),
        (shell(1, read=(3, 1)), "out of order or twice"),
        (shell(1, read=(1, 3)), "read by 2 shells"),
        (shell(0, read=(2,)), "reached the device"),
        (shell(1, read=()), "reached the device"),
        (recording(chunks=(ONE, THREE)), "is missing"),
        (recording(chunks=(ONE, replace(TWO, events=TWO.events[:-1] + b"!"), THREE)), "SHA-256"),
        (recording(chunks=(ONE, TWO)), "ends at"),
        (recording(chunks=(ONE, chunk(ONE, 2, SECOND + b"more"))), "recording, epoch 2"),
        (recording(sighted=frozenset({(1, 0, b"another")})), "not there any more"),
        (replace(GOOD, faults=()), "without a cause"),
        (replace(GOOD, faults=(FROZEN,)), "without a cause"),
        (replace(GOOD, faults=(Fault("kill", "b", 110, 115),)), "without a cause"),
        # An instance that is hidden from its peers, or has lost one service alone, keeps all its sessions.
        (replace(GOOD, faults=(Fault("hide", "a", 101, 119),)), "without a cause"),
        (replace(GOOD, faults=(Fault("cut off from Valkey", "a", 101, 119),)), "without a cause"),
        (replace(GOOD, faults=(Fault("cut off from PostgreSQL", "a", 101, 119),)), "without a cause"),
        (replace(GOOD, faults=(Fault("crowd", "a", 101, 119),)), "without a cause"),
        # Heartbeats came until it stood still.
        (replace(GOOD, faults=(Fault("hide", "a", 101, 111), replace(FROZEN, began_at=112, ended_at=119))), "cause"),
        (replace(GOOD, faults=(replace(KILLED, began_at=111),)), "waited for 9.0 s"),
        (replace(GOOD, holds=(Hold("ctrl-1", 110, 8.5),)), "held rows"),
        (recording(state="detached", end_reason=None), "at the end"),
        (connection(2, is_last=False), "could not stay"),
        (ended_by_absence(135), "ended although its user was there 5.0 s before"),
        (ended_by_absence(125), "ended although its user was there 0.0 s before"),
        (ended_by_absence(139, "the device was lost"), "another reason"),
        (ended_by_absence(139, told=(Told("s", 133, AWAY),)), "said to have ended although its user was there"),
        (ended_by_absence(139, told=(Told("s", 139, "there is no such session"),)), "said to have ended for another"),
        (ended_by_absence(160), "lived on for 30.0 s"),
        (replace(PATIENT, connections=come_back(159)), "came back after 41.0 s"),
        (crowd(replace(IN_CROWD, is_connected=False)), "not connected to it in the calm"),
        (crowd(replace(IN_CROWD, echoes=False)), "a key is not echoed"),
        (crowd(replace(IN_CROWD, refusal="4002: no such device")), "refused for good"),
        (crowd(replace(IN_CROWD, refusal="4001: it has ended")), "refused for good"),
        (crowd(replace(ENDED_IN_CROWD, refusal="4003: superseded")), "refused for good"),
        (crowd(replace(IN_CROWD, holders=("b", "c"))), "a session that is live"),
        (crowd(replace(IN_CROWD, holders=())), "a session that is live"),
        (crowd(replace(ENDED_IN_CROWD, holders=("b",))), "a session that is ended"),
        (
            crowd(ENDED_IN_CROWD, faults=()),
            "could have come back in 15.0 s",
        ),
        (replace(GOOD, left_behind=("netstacks:instance:ctrl-1",)), "left behind"),
        (replace(GOOD, complaints=("a is not itself again",)), "not itself"),
    ],
)
def test_a_planted_violation_is_found(history: History, violation: str) -> None:
    found = judge(history)
    assert any(violation in each for each in found), found


@pytest.mark.parametrize(
    "history",
    [
        connection(1, offset=6, output=FIRST[6:-1], notices=b"left out: 1 byte"),
        replace(GOOD, faults=(replace(FROZEN, ended_at=119),)),
        replace(GOOD, faults=(Fault("freeze in a transaction", "a", 110, 119),)),
        # Unheard since it was cut off.
        replace(
            GOOD, faults=(Fault("cut off from Valkey", "a", 108, 112), replace(FROZEN, began_at=114, ended_at=118))
        ),
        replace(GOOD, faults=(Fault("drain", "a", 110, 115),)),
        # Another fault was in the way, or its user was not there.
        replace(GOOD, faults=(replace(KILLED, began_at=111), Fault("kill", "valkey", 112, 113))),
        replace(GOOD, faults=(replace(KILLED, began_at=105.5),)),
        replace(GOOD, holds=(Hold("ctrl-1", 110, 5),)),
        ended_by_absence(138),
        ended_by_absence(138, told=(Told("s", 141, f"Not connected: it has ended: {AWAY}"),)),
        ended_by_absence(138, "its instance was lost and its user did not come back within 8 s"),
        # The device's output after the last reader.
        ended_by_absence(138, shells=(SHELLS[0], replace(SHELLS[1], said_bye=False, printed=SECOND + b"line 2\r\n"))),
        ended_by_absence(160, faults=(KILLED, Fault("freeze", "b", 131, 140))),
        crowd(IN_CROWD),
        crowd(ENDED_IN_CROWD),
        crowd(replace(ENDED_IN_CROWD, refusal=f"4001: it has ended: {AWAY}"), told=(Told("i", 125, AWAY),)),
        replace(PATIENT, connections=come_back(159), faults=(KILLED, Fault("lock sessions", "postgres", 126, 140))),
    ],
)
def test_a_declared_gap_or_one_with_a_cause_is_no_violation(history: History) -> None:
    assert judge(history) == []
