"""One row a rule. The session is at epoch 3, its owner is `a`, we are `me`, the TTL is 30 s and it is 100 o'clock."""

import re
from dataclasses import replace

import pytest

from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Claim, Dial, Gone, Local, Outcome, Placement, Proxy, Route, Wait, choose_route
from tests.cluster.facts import instance, record

NOW = 100.0
TTL_SECS = 30.0
ME = instance("me", last_heartbeat_at=NOW)
FRESH = instance("a", last_heartbeat_at=NOW - 29)
STALE = instance("a", last_heartbeat_at=NOW - 31)
OWNED = record("a", 3)
TO_A = Proxy(Peer("a", FRESH.peer_address), 3)

PLACED = Placement(row=OWNED, record=OWNED, owner=FRESH)
LONG_SILENT = replace(PLACED, owner=STALE)
REAPED = Placement(row=OWNED, row_address="10.0.0.7:7000")


def dial(outcome: Outcome, **facts) -> Dial:
    return Dial("a", 3, outcome, **facts)


REFUSED = dial("refused", witness="held")
DEAD = dial("refused", witness="free")
SILENT = dial("timed_out")

CLAIM = Claim(OWNED)

RULES = {
    # The serving instance when all is well.
    "held here": (Placement(row=record("me", 3), held_epoch=3), Local()),
    "owned by another": (PLACED, TO_A),
    "a confirmed dial is spliced": (replace(PLACED, dial=dial("confirmed")), TO_A),
    "released by its owner": (Placement(row=record(None, 4)), Claim(record(None, 4))),
    "ended": (Placement(row=record(None, 4, state="ended"), end_reason="device closed"), Gone("device closed")),
    "ended without a reason": (Placement(row=record(None, 4, state="ended")), Gone),
    "unknown": (Placement(), Gone),
    # Held here, and what others know of it.
    "held here, fenced by a claim": (replace(PLACED, held_epoch=2), TO_A),
    "held here, though the database is away": (Placement(held_epoch=3, database=False), Local()),
    "held here, though the row just read is older": (replace(PLACED, held_epoch=4), Local()),
    "held here, yet ended by another": (Placement(row=record(None, 4, state="ended"), held_epoch=3), Gone),
    "owned by us, lost before it was opened": (Placement(row=record("me", 3)), Claim(record("me", 3))),
    # PostgreSQL decides the owner, Valkey says where the session is.
    "the row outweighs the registry": (Placement(row=OWNED, record=record("b", 2), owner=FRESH), TO_A),
    "the registry alone will do": (Placement(record=OWNED, owner=FRESH), TO_A),
    "owner not in the registry, address in the row": (REAPED, Proxy(Peer("a", "10.0.0.7:7000"), 3)),
    "owner not in the registry, no address": (Placement(row=OWNED), CLAIM),
    # The owner is dialled before any claim; what came of an earlier dial does not count.
    "stale owners are dialled too": (LONG_SILENT, TO_A),
    "stale, but it confirms": (replace(LONG_SILENT, dial=dial("confirmed")), TO_A),
    "a witness lost with the database proves nothing": (replace(PLACED, dial=dial("confirmed", witness="free")), TO_A),
    "dialled when another owned it": (replace(LONG_SILENT, dial=Dial("b", 2, "refused", "free")), TO_A),
    "dialled at an older epoch": (replace(LONG_SILENT, dial=Dial("a", 1, "refused", "free")), TO_A),
    # A failed dial alone never claims.
    "refused, witness held, fresh": (replace(PLACED, dial=REFUSED), Wait),
    "refused, witness unknown, fresh": (replace(PLACED, dial=dial("refused")), Wait),
    "frozen, fresh": (replace(PLACED, dial=SILENT), Wait),
    "frozen, fresh, witness free": (replace(PLACED, dial=dial("timed_out", witness="free")), Wait),
    "the owner denies, fresh": (replace(PLACED, dial=dial("denied")), Wait),
    "another id answered, witness held": (replace(PLACED, dial=dial("other_id", witness="held")), Wait),
    # A proven death need not wait.
    "refused, witness free": (replace(PLACED, dial=DEAD), CLAIM),
    "another id answered, witness free": (replace(PLACED, dial=dial("other_id", witness="free")), CLAIM),
    "not registered, death proven": (replace(REAPED, dial=DEAD), CLAIM),
    # Otherwise the TTL decides.
    "refused, witness held, stale": (replace(LONG_SILENT, dial=REFUSED), Wait),
    "refused, witness silent, stale": (replace(LONG_SILENT, dial=dial("refused", witness="silent")), CLAIM),
    "silent, witness held, stale": (replace(LONG_SILENT, dial=dial("timed_out", witness="held")), Wait),
    "silent, witness held, reaped": (
        replace(LONG_SILENT, owner=None, row_address="10.0.0.9:7000", dial=dial("timed_out", witness="held")),
        Wait,
    ),
    "silent, witness silent, stale": (replace(LONG_SILENT, dial=dial("timed_out", witness="silent")), CLAIM),
    "declined, stale": (replace(LONG_SILENT, dial=dial("declined")), Wait),
    "frozen, stale": (replace(LONG_SILENT, dial=SILENT), CLAIM),
    "the owner denies, stale": (replace(LONG_SILENT, dial=dial("denied")), CLAIM),
    "reaped and silent": (replace(REAPED, dial=SILENT), CLAIM),
    # Blind: heartbeats prove nothing.
    "blind, not dialled yet": (replace(REAPED, blind=True), Proxy(Peer("a", "10.0.0.7:7000"), 3)),
    "blind, it confirms": (replace(LONG_SILENT, blind=True, dial=dial("confirmed")), TO_A),
    "blind, silent, seemingly stale": (replace(LONG_SILENT, blind=True, dial=SILENT), Wait),
    "blind, silent, not registered": (replace(REAPED, blind=True, dial=SILENT), Wait),
    "blind, no address": (Placement(row=OWNED, blind=True), Wait),
    "blind, death proven": (replace(REAPED, blind=True, dial=DEAD), CLAIM),
    "blind, released": (Placement(row=record(None, 4), blind=True), Claim(record(None, 4))),
    # Without the database nothing is claimed, and nothing is declared gone.
    "no database, owner known": (Placement(record=OWNED, owner=FRESH, database=False), TO_A),
    "no database, unknown everywhere": (Placement(database=False), Wait),
    "no database, frozen, stale": (Placement(record=OWNED, owner=STALE, database=False, dial=SILENT), Wait),
    # Viewers never claim.
    "a viewer is proxied": (replace(PLACED, viewer=True), TO_A),
    "a viewer of a released session": (Placement(row=record(None, 4), viewer=True), Wait),
    "a viewer, death proven": (replace(PLACED, dial=DEAD, viewer=True), Wait),
    "a viewer of an ended session": (Placement(row=record(None, 4, state="ended"), viewer=True), Gone),
}


@pytest.mark.parametrize(("placement", "expected"), RULES.values(), ids=RULES.keys())
def test_rule(placement: Placement, expected: Route | type[Route]) -> None:
    route = choose_route(placement, ME, NOW, TTL_SECS)
    if isinstance(expected, type):
        assert isinstance(route, expected)
    else:
        assert route == expected


@pytest.mark.parametrize("state", ["draining", "refused"])
def test_an_instance_that_is_not_active_claims_nothing_and_serves_what_it_holds(state) -> None:
    me = replace(ME, state=state)
    route = choose_route(Placement(row=record(None, 4)), me, NOW, TTL_SECS)
    assert isinstance(route, Wait)
    assert route.reason
    assert isinstance(choose_route(replace(PLACED, dial=DEAD), me, NOW, TTL_SECS), Wait)
    assert choose_route(PLACED, me, NOW, TTL_SECS) == TO_A
    assert choose_route(Placement(row=record("me", 3), held_epoch=3), me, NOW, TTL_SECS) == Local()


def test_no_reason_reads_as_a_failed_device_login_to_the_real_client() -> None:
    """docs/protocol.md, 6.6: the client shows an Error text with "auth" in it as refused credentials."""
    routes = [choose_route(placement, ME, NOW, TTL_SECS) for placement, _ in RULES.values()]
    reasons = [route.reason for route in routes if isinstance(route, Wait | Gone)]
    assert reasons
    assert not [reason for reason in reasons if "auth" in reason.lower()]


@pytest.mark.parametrize("facts", [SILENT, dial("timed_out", witness="held")])
def test_a_wait_tells_whether_the_owners_heartbeat_is_overdue(facts: Dial) -> None:
    def is_told(heartbeat_age_secs: float, **more) -> bool:
        owner = instance("a", last_heartbeat_at=NOW - heartbeat_age_secs)
        route = choose_route(replace(PLACED, owner=owner, dial=facts, **more), ME, NOW, TTL_SECS)
        assert isinstance(route, Wait)
        return route.overdue_secs is not None

    assert not is_told(10)
    assert is_told(11)
    assert not is_told(11, blind=True)


def test_a_client_is_told_how_long_a_silent_owner_is_waited_for() -> None:
    route = choose_route(replace(PLACED, dial=SILENT), ME, NOW, TTL_SECS)
    assert isinstance(route, Wait)
    assert re.findall(r"(-?\d+) s", route.reason) == ["1"]
