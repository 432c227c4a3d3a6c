"""A peer is unreachable only when dials to it failed and heartbeats of it followed."""

from netstacks.cluster.dials import FailedDials, absent, overdue, unanswered
from netstacks.cluster.model import InstanceState, Peer, Snapshot
from netstacks.cluster.routing import Outcome
from tests.cluster.facts import instance

PEER = "ctrl-b"


def heard_at(at: float, state: InstanceState = "active") -> Snapshot:
    return Snapshot(at, {PEER: instance(PEER, last_heartbeat_at=at, state=state)})


def failing(*rounds: tuple[float, float]) -> FailedDials:
    """Rounds of a failed dial, each as its end and the last heartbeat that was known then."""
    dials = FailedDials()
    for ended_at, heartbeat_at in rounds:
        assert dials.note({PEER: "refused", "ctrl-c": "confirmed"}, heard_at(heartbeat_at), ended_at) == 1
    return dials


def test_two_failures_with_heartbeats_after_each() -> None:
    dials = failing((10, 9), (20, 19))
    assert dials.unreachable(heard_at(20)) == {}
    assert dials.unreachable(heard_at(21)) == {PEER: "connection refused"}


def test_one_failure_proves_nothing() -> None:
    assert failing((10, 9)).unreachable(heard_at(15)) == {}


def test_a_killed_instance_sends_no_heartbeat_after_the_dial() -> None:
    assert failing((10, 9), (20, 9), (30, 9), (40, 9)).unreachable(heard_at(9)) == {}


def test_a_frozen_instance_that_thaws_is_not_unreachable() -> None:
    assert failing((10, 5), (20, 5), (30, 5)).unreachable(heard_at(31)) == {}


def test_heartbeats_may_be_rarer_than_dials() -> None:
    dials = failing((10, 0), (20, 0), (30, 25), (40, 25))
    assert dials.unreachable(heard_at(25)) == {}
    assert dials.unreachable(heard_at(50)) == {PEER: "connection refused"}


def test_one_dial_that_succeeds_ends_it() -> None:
    dials = failing((10, 9), (20, 19))
    dials.note({PEER: "declined"}, heard_at(29), 30)
    assert dials.unreachable(heard_at(31)) == {}


def test_an_instance_that_drains_or_has_left_is_not_unreachable() -> None:
    dials = failing((10, 9), (20, 19))
    assert dials.unreachable(heard_at(21, "draining")) == {}
    assert dials.unreachable(Snapshot(21, {})) == {}


def test_another_instance_at_the_address() -> None:
    dials = FailedDials()
    for at in (10.0, 20.0):
        dials.note({PEER: "other_id"}, heard_at(at - 1), at)
    assert dials.unreachable(heard_at(21)) == {PEER: "another instance answers there"}


def test_a_peer_that_does_not_listen_and_is_silent_may_be_dead() -> None:
    assert failing((10, 9)).suspects(heard_at(9)) == [PEER]
    assert failing((10, 9), (20, 9)).suspects(heard_at(9)) == [PEER]


def test_a_peer_that_sends_heartbeats_is_not_suspected() -> None:
    assert failing((10, 9)).suspects(heard_at(11)) == []
    assert failing((10, 9), (20, 19), (30, 19)).suspects(heard_at(19)) == []


def test_a_peer_that_answers_nothing_is_not_suspected() -> None:
    dials = FailedDials()
    dials.note({PEER: "timed_out"}, heard_at(9), 10)
    assert dials.suspects(heard_at(9)) == []
    dials.note({PEER: "other_id"}, heard_at(9), 20)
    assert dials.suspects(heard_at(9)) == [PEER]


def test_which_peers_have_no_process_and_which_do_not_answer() -> None:
    outcomes: dict[str, Outcome] = {
        "a": "confirmed",
        "b": "refused",
        "c": "timed_out",
        "d": "declined",
        "e": "other_id",
        "f": "denied",
    }
    assert absent(outcomes) == ["b", "e"]
    assert unanswered(outcomes) == ["b", "c", "e"]


def test_heartbeats_are_overdue_after_two_and_a_half_intervals() -> None:
    seen = {
        "me": instance("me", last_heartbeat_at=0),
        "late": instance("late", last_heartbeat_at=87.4),
        "fresh": instance("fresh", last_heartbeat_at=87.5),
    }
    assert overdue(Snapshot(100, seen), "me", 5) == [Peer("late", seen["late"].peer_address)]
