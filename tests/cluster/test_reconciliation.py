"""The rules of reconciliation, by table."""

from dataclasses import replace

import pytest

from netstacks.cluster.model import Instance, SessionRecord
from netstacks.cluster.reconciliation import End, Fence, Keep, Proof, Signs, is_alive, is_forsaken, is_gone, judge_held
from netstacks.cluster.routing import Outcome, Witness
from tests.cluster.facts import instance, record

TTL_SECS = 30.0
NOW = 1000.0
FRESH = instance("a", last_heartbeat_at=NOW - 1)
STALE = instance("a", last_heartbeat_at=NOW - TTL_SECS - 1)
MINE = record("me", 2)


@pytest.mark.parametrize(("row", "reason", "requested", "decision"), [
    (MINE, None, None, Keep()),
    (replace(MINE, state="detached"), None, None, Keep()),
    (MINE, None, "access was withdrawn", End("access was withdrawn")),
    (replace(MINE, state="ended", epoch=3), "by an administrator", None, End("by an administrator")),
    (replace(MINE, state="ended", epoch=3), None, None, End("it was ended elsewhere")),
    (record("other", 3), None, None, Fence()),
    (record(None, 3), None, "access was withdrawn", Fence()),
    (None, None, None, Fence()),
])  # fmt: skip
def test_a_held_session_follows_its_row(
    row: SessionRecord | None, reason: str | None, requested: str | None, decision: Keep | Fence | End
) -> None:
    assert judge_held(2, row, end_reason=reason, end_requested=requested) == decision


@pytest.mark.parametrize(("row", "held", "forsaken"), [
    (MINE, False, True),
    (MINE, True, False),
    (replace(MINE, state="ended"), False, False),
    (record("other", 2), False, False),
    (record(None, 2), False, False),
])  # fmt: skip
def test_a_row_that_names_this_instance_in_vain_is_forsaken(row: SessionRecord, held: bool, forsaken: bool) -> None:
    assert is_forsaken(row, "me", held=held) is forsaken


@pytest.mark.parametrize("registered", [None, STALE])
@pytest.mark.parametrize("outcome", ["refused", "other_id", "timed_out"])
@pytest.mark.parametrize("proof", ["counts", "blind", "alone"])
def test_an_owner_whose_witness_is_held_is_never_gone(
    registered: Instance | None, outcome: Outcome, proof: Proof
) -> None:
    assert is_alive(registered, "held", NOW, TTL_SECS)
    assert not is_gone(Signs(registered, proof, "held", outcome), NOW, TTL_SECS)


@pytest.mark.parametrize("witness", ["silent", "free", "unknown"])
@pytest.mark.parametrize("outcome", ["confirmed", "declined", "denied"])
def test_an_owner_that_answers_is_never_gone(witness: Witness, outcome: Outcome) -> None:
    assert not is_gone(Signs(None, "counts", witness, outcome), NOW, TTL_SECS)


@pytest.mark.parametrize("outcome", ["refused", "other_id", "timed_out"])
def test_an_owner_whose_heartbeat_is_fresh_is_not_gone(outcome: Outcome) -> None:
    assert not is_gone(Signs(FRESH, "counts", "free", outcome), NOW, TTL_SECS)


@pytest.mark.parametrize(("proof", "witness", "outcome", "gone"), [
    # Proven: nothing listens, nothing holds the lock.
    ("blind", "free", "refused", True),
    ("alone", "free", "other_id", True),
    # Its absence from a registry that proves nothing is not a death.
    ("blind", "free", "timed_out", False),
    ("alone", "free", "timed_out", False),
    ("blind", "unknown", "refused", False),
    ("alone", "unknown", "timed_out", False),
    # PostgreSQL has not heard from it for a whole TTL: it is frozen, unless Valkey may say more soon.
    ("alone", "silent", "timed_out", True),
    ("blind", "silent", "timed_out", False),
    # The registry has been in contact for a whole TTL, and the owner was not.
    ("counts", "silent", "timed_out", True),
    ("counts", "free", "timed_out", True),
    ("counts", "unknown", "timed_out", True),
    ("counts", "unknown", "refused", True),
])  # fmt: skip
def test_an_owner_is_gone_when_all_that_can_tell_says_so(
    proof: Proof, witness: Witness, outcome: Outcome, gone: bool
) -> None:
    for registered in (None, STALE):
        assert is_gone(Signs(registered, proof, witness, outcome), NOW, TTL_SECS) is gone
