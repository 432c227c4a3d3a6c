"""Records survive the way through a hash of Valkey, which holds texts only; fakeredis stands in for the server."""

from typing import Any, get_args
from uuid import UUID

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.cluster.circuits import Circuit, CircuitState
from netstacks.cluster.model import SessionRecord, SessionState
from netstacks.registry import hashes
from netstacks.registry.hashes import LATEST

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


@pytest.mark.parametrize("name", WHOLE[::2])
def test_a_missing_field_is_named(name: str) -> None:
    fields = stored(WHOLE)
    del fields[name]
    with pytest.raises(ValueError, match=name):
        hashes.session(UUID(int=1), fields)
