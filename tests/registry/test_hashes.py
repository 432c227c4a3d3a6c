"""Records survive the way through a hash of Valkey, which holds texts only; fakeredis stands in for the server."""

from dataclasses import asdict, replace
from typing import Any, cast, get_args
from uuid import UUID

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.cluster.circuits import Circuit, CircuitState
from netstacks.cluster.model import MAX_REASON, LossProof, LostInstance, Sample, SessionRecord, SessionState
from netstacks.registry import hashes
from netstacks.registry.hashes import LATEST
from tests.cluster.facts import instance

# What UTF-8 can write: names of devices and users come from elsewhere.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
TIMES = st.floats(0, LATEST)
COUNTS = st.integers(0, 2**31 - 1)
SESSIONS = st.builds(
    SessionRecord,
    id=st.uuids(),
    owner=TEXTS,
    epoch=COUNTS,
    device=TEXTS,
    user=TEXTS,
    started_at=TIMES,
    state=st.sampled_from(get_args(SessionState)),
    cols=COUNTS,
    rows=COUNTS,
)
CIRCUITS = st.builds(
    Circuit,
    state=st.sampled_from(get_args(CircuitState)),
    failures=COUNTS,
    opened_at=TIMES,
    open_until=TIMES,
    reason=TEXTS,
    probe=TEXTS,
    probe_until=TIMES,
    version=st.integers(0, 2**53 - 1),
    changed_at=TIMES,
)
LOST = st.builds(
    LostInstance,
    id=st.just("a"),
    host=TEXTS,
    peer_address=st.sampled_from(["", "10.0.0.1:8080", "[2001:db8::1]:8080", "host.example:1"]),
    version=TEXTS,
    started_at=TIMES,
    last_heartbeat_at=TIMES,
    lost_at=TIMES,
    sessions=COUNTS,
    reaped_by=TEXTS,
    proof=st.sampled_from(get_args(LossProof)),
)
SAMPLES = st.builds(
    Sample,
    at=TIMES,
    sessions=COUNTS,
    heartbeat_age_secs=TIMES,
    loop_lag_secs=TIMES,
    valkey_latency_secs=TIMES,
    memory_bytes=st.integers(0, 2**53 - 1),
)
WHOLE = hashes.to_hash(SessionRecord(UUID(int=1), "a", 1, "core-1", "ann", 0.0, "active", 80, 24))


def stored(fields: list[Any]) -> dict[str, str]:
    server = fakeredis.FakeRedis(decode_responses=True)
    server.hset("key", items=fields)
    read: Any = server.hgetall("key")
    return dict(read)


@given(SESSIONS)
def test_a_session_is_read_back_as_it_was_written(session: SessionRecord) -> None:
    assert hashes.session(session.id, stored(hashes.to_hash(session))) == session


@given(CIRCUITS)
def test_a_circuit_is_read_back_as_it_was_written(circuit: Circuit) -> None:
    assert hashes.circuit(stored(hashes.to_hash(circuit))) == circuit


@given(LOST)
def test_a_lost_instance_is_read_back_as_it_was_written(lost: LostInstance) -> None:
    fields = stored([part for item in asdict(lost).items() for part in item])
    assert hashes.lost_instance("a", fields) == lost


@given(SAMPLES)
def test_a_sample_is_read_back_as_it_was_written(sample: Sample) -> None:
    server = fakeredis.FakeRedis(decode_responses=True)
    server.xadd("key", {"figures": hashes.sample_figures(sample)})
    [(_, entry)] = cast(Any, server.xrange("key"))
    assert hashes.sample(entry["figures"]) == sample


@pytest.mark.parametrize(
    "figures",
    [None, "", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2.5,3,4,5,6", "nan,2,3,4,5,6", "1,-2,3,4,5,6", "1,2,inf,4,5,6"],
)
def test_figures_that_are_no_sample_are_refused_with_the_reason(figures: str | None) -> None:
    with pytest.raises(ValueError, match="its figures"):
        hashes.sample(figures)


@pytest.mark.parametrize("name", WHOLE[::2])
def test_a_missing_field_is_named(name: str) -> None:
    fields = stored(WHOLE)
    del fields[name]
    with pytest.raises(ValueError, match=name):
        hashes.session(UUID(int=1), fields)


@pytest.mark.parametrize("id", ["../../users/1", "a/b", "..", ".", "a?b", "a#b", "", "a b", "x" * 61, "a\nb"])
def test_an_id_that_could_lead_elsewhere_in_a_url_is_refused(id: str) -> None:
    with pytest.raises(ValueError, match="its id"):
        hashes.instance(id, 1.0, stored(WHOLE))
    with pytest.raises(ValueError, match="its id"):
        hashes.lost_instance(id, stored(WHOLE))


def test_an_instance_of_an_earlier_version_reports_no_health() -> None:
    fields = stored(hashes.to_hash(instance("a")))
    del fields["health"], fields["reason"]
    assert hashes.instance("a", 1.0, fields | {"sessions": "0"}).health == ""


def test_the_health_of_an_instance_is_one_of_those_known_and_its_reason_is_short() -> None:
    me = replace(instance("a"), health="unhealthy", reason="x" * (MAX_REASON + 1))
    fields = stored(hashes.to_hash(me)) | {"sessions": "0"}
    read = hashes.instance("a", 1.0, fields)
    assert (read.health, read.reason) == ("unhealthy", "x" * MAX_REASON)
    with pytest.raises(ValueError, match="health"):
        hashes.instance("a", 1.0, fields | {"health": "unwell"})
