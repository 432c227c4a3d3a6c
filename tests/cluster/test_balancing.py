"""The instance to which clients that wait too long are handed."""

from dataclasses import replace

from netstacks.cluster.balancing import Room
from netstacks.cluster.model import Instance, Snapshot
from tests.cluster.facts import instance

TTL_SECS, NOW = 30.0, 1000.0


def peer(name: str, *, opens_per_sec: float = 10.0, waiting: int = 0) -> Instance:
    return replace(instance(name, last_heartbeat_at=NOW, opens_per_sec=opens_per_sec), waiting=waiting)


def snapshot(*instances: Instance) -> Snapshot:
    return Snapshot(NOW, {each.id: each for each in instances})


def handed(room: Room, seen: Snapshot) -> list[str]:
    """The instances to which clients are handed until there is no room left."""
    asked = [room.reserve(seen, "me", TTL_SECS, float(second)) for second in range(100)]
    return [each.id for each in asked if each is not None]


def test_a_peer_is_given_what_it_opens_until_it_tells_more() -> None:
    assert handed(Room(), snapshot(peer("me"), peer("b"))) == ["b"] * 30


def test_clients_that_wait_at_a_peer_take_its_room() -> None:
    assert handed(Room(), snapshot(peer("b", waiting=25))) == ["b"] * 5
    assert handed(Room(), snapshot(peer("b", waiting=100))) == []


def test_an_unhealthy_peer_is_given_nothing() -> None:
    unfit = replace(peer("b"), health="unhealthy")
    assert handed(Room(), snapshot(unfit, replace(peer("c"), health="degraded"))) == ["c"] * 30


def test_the_peer_with_the_most_room_comes_first_and_all_are_filled() -> None:
    names = handed(Room(), snapshot(peer("b", waiting=28), peer("c", waiting=29), peer("d", waiting=30)))
    assert names == ["b", "b", "c"] or names == ["b", "c", "b"]


def test_a_later_heartbeat_makes_room_again() -> None:
    room, b = Room(), peer("b")
    assert len(handed(room, snapshot(b))) == 30
    assert handed(room, snapshot(b)) == []
    later = replace(b, last_heartbeat_at=NOW + 5)
    assert len(handed(room, Snapshot(NOW + 5, {"b": later}))) == 30


def test_a_peer_that_declines_is_left_alone_for_a_while() -> None:
    room, b = Room(), peer("b")
    room.declined(b, 100.0)
    assert room.reserve(snapshot(b), "me", TTL_SECS, 104.0) is None
    assert room.reserve(snapshot(b), "me", TTL_SECS, 105.0) == b


def test_a_peer_is_handed_no_more_a_second_than_it_opens() -> None:
    room, b = Room(), peer("b", opens_per_sec=10.0)
    assert room.reserve(snapshot(b), "me", TTL_SECS, 100.0) == b
    assert room.reserve(snapshot(b), "me", TTL_SECS, 100.05) is None
    assert room.reserve(snapshot(b), "me", TTL_SECS, 100.11) == b


def test_no_client_is_handed_to_an_instance_that_takes_no_sessions_or_cannot_be_reached() -> None:
    others = [
        replace(peer("drains"), state="draining"),
        replace(peer("refused"), state="refused"),
        replace(peer("stale"), last_heartbeat_at=NOW - 2 * TTL_SECS),
        replace(peer("no listener"), peer_address=""),
        peer("says nothing", opens_per_sec=0.0),
    ]
    assert Room().reserve(snapshot(peer("me"), *others), "me", TTL_SECS, 100.0) is None


def test_a_peer_that_opens_two_a_second_is_handed_the_next_client_half_a_second_later() -> None:
    room, b = Room(), peer("b", opens_per_sec=2.0)
    assert room.reserve(snapshot(b), "me", TTL_SECS, 100.0) == b
    assert room.reserve(snapshot(b), "me", TTL_SECS, 100.5) == b
