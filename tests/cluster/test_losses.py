"""Which instance replaces a lost one, and the sentence of a loss."""

from dataclasses import replace

from netstacks.cluster.losses import accounted_for, forgotten, replaceable, sentence, successors
from netstacks.cluster.model import Event, Instance, InstanceState, LostInstance, Snapshot
from tests.cluster.facts import instance

INTERVAL_SECS = 5.0
LOST = LostInstance("a", "h1", "10.0.0.1:8090", "1", 100.0, 1000.0, 1030.4, 12, "b", "silence")


def started(name: str, at: float, host: str = "h1", *, replaces: str = "", state: InstanceState = "active") -> Instance:
    return replace(instance(name, state=state), host=host, started_at=at, replaces=replaces)


def successors_among(*instances: Instance) -> list[str]:
    return [
        each.id for each in successors(LOST, Snapshot(1031.0, {each.id: each for each in instances}), INTERVAL_SECS)
    ]


def test_a_new_instance_replaces_one_of_its_host_first_and_else_the_oldest_loss() -> None:
    older, here = replace(LOST, id="o", host="h2", lost_at=900.0), replace(LOST, id="h")
    newer = replace(LOST, id="n", host="h3", lost_at=1100.0)
    assert [each.id for each in replaceable([newer, here, older], "h1")] == ["h", "o", "n"]
    assert [each.id for each in replaceable([newer, here, older], "h9")] == ["o", "h", "n"]
    assert replaceable([], "h1") == []


def test_an_instance_that_was_there_beside_the_lost_one_does_not_replace_it() -> None:
    assert successors_among(started("old", 999.0), started("same", 1000.0)) == []


def test_a_process_restarted_at_once_has_replaced_the_lost_one() -> None:
    assert successors_among(started("old", 500.0), started("new", 1000.5)) == ["new"]


def test_on_another_host_it_must_have_started_after_the_next_heartbeat_was_due() -> None:
    assert successors_among(started("beside", 1004.0, "h2"), started("new", 1005.5, "h3")) == ["new"]


def test_the_likeliest_successor_comes_first() -> None:
    found = successors_among(started("far", 1006.0, "h2"), started("late", 1008.0), started("soon", 1001.0))
    assert found == ["soon", "late", "far"]


def test_an_instance_that_has_replaced_another_or_takes_no_sessions_is_no_successor() -> None:
    taken, refused = started("taken", 1010.0, replaces="z"), started("refused", 1010.0, state="refused")
    assert successors_among(taken, refused, started("draining", 1010.0, state="draining")) == []


def test_the_sentence_tells_the_proof() -> None:
    assert sentence(LOST) == "it sent no heartbeat for 30 s, so it was declared dead"
    refused = sentence(replace(LOST, proof="refused", lost_at=1001.0))
    assert "no process of it listened at 10.0.0.1:8090" in refused
    assert "ended without handing over" in refused


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    assert "for 0 s" in sentence(replace(LOST, lost_at=900.0))


def test_what_the_registry_knows_of_instances() -> None:
    snapshot = Snapshot(1031.0, {"new": started("new", 1000.0, replaces="old")}, {"damaged": "it has no host"})
    events = [
        Event(1.0, "left", "gone"),
        Event(2.0, "dismissed", "known", {"by": "lee"}),
        Event(3.0, "replaced", "former", {"by": "x"}),
        Event(4.0, "joined", "next", {"replaces": "last"}),
        Event(5.0, "joined", "plain"),
        Event(6.0, "claimed", "busy"),
    ]
    known = accounted_for(snapshot, [LOST], events)
    assert known - {""} == {"new", "old", "damaged", "a", "gone", "known", "former", "last"}


def test_a_forgotten_loss_has_the_facts_of_its_instance() -> None:
    former = replace(started("z", 500.0), sessions=3, last_heartbeat_at=990.0)
    lost = forgotten(former, 1031.0, "b")
    assert lost == replace(
        LOST,
        id="z",
        peer_address=former.peer_address,
        started_at=500.0,
        last_heartbeat_at=990.0,
        lost_at=1031.0,
        sessions=3,
        proof="refused",
    )
