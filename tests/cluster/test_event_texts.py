"""The sentences of events."""

from typing import get_args

import pytest

from netstacks.cluster.event_texts import last_failover, matching, text_of
from netstacks.cluster.model import Event, EventKind

SESSION = "0f9d2c4e-1111-2222-3333-444455556666"

SENTENCES: list[tuple[str, dict[str, str], str]] = [
    ("joined", {}, "ctrl-a joined"),
    ("joined", {"replaces": "ctrl-x"}, "ctrl-a joined and replaces ctrl-x, which was lost"),
    ("left", {}, "ctrl-a shut down cleanly"),
    ("replaced", {"by": "ctrl-b"}, "ctrl-a, which was lost, is replaced by ctrl-b"),
    ("draining", {"by": "lee"}, "lee requested the drain of ctrl-a"),
    (
        "draining",
        {"sessions": "40", "needs_secs": "12", "has_secs": "20"},
        "ctrl-a hands over 40 sessions: the other instances need 12 s, the drain timeout leaves 20 s",
    ),
    (
        "draining",
        {"sessions": "1", "needs_secs": "1", "has_secs": "20"},
        "ctrl-a hands over 1 session: the other instances need 1 s, the drain timeout leaves 20 s",
    ),
    ("drain_cancelled", {"by": "lee"}, "lee cancelled the drain of ctrl-a, which goes on serving"),
    ("reaped", {"by": "ctrl-b"}, "ctrl-b declared ctrl-a dead and removed it"),
    (
        "reaped",
        {"by": "ctrl-b", "proof": "silence", "sessions": "12"},
        "ctrl-b declared ctrl-a dead and removed it: it sent no heartbeat for the TTL; it had 12 sessions",
    ),
    (
        "reaped",
        {"by": "ctrl-b", "proof": "refused", "sessions": "1"},
        "ctrl-b declared ctrl-a dead and removed it: its process is gone, its lock in PostgreSQL is free; it had"
        " 1 session",
    ),
    ("dismissed", {"by": "lee"}, "lee removed the lost instance ctrl-a from the list"),
    ("claimed", {"session": SESSION, "device": "core-1"}, "ctrl-a took over session 0f9d2c4e on core-1"),
    (
        "claimed",
        {"session": SESSION, "device": "core-1", "former": "ctrl-x"},
        "ctrl-a took over session 0f9d2c4e on core-1 from ctrl-x",
    ),
    (
        "moved",
        {"session": SESSION, "device": "core-1", "by": "lee"},
        "lee moved session 0f9d2c4e on core-1 away from ctrl-a",
    ),
    (
        "fenced",
        {"session": SESSION},
        "ctrl-a dropped its copy of session 0f9d2c4e, now owned by another instance",
    ),
    ("failover", {"sessions": "7"}, "ctrl-a registered 7 sessions again with a new or restarted Valkey server"),
    (
        "failover",
        {"sessions": "1", "former": "v1:6379", "address": "v2:6379"},
        "The Valkey primary moved from v1:6379 to v2:6379: ctrl-a registered 1 session again",
    ),
    (
        "failover",
        {"sessions": "0", "former": "v1:6379", "address": "v1:6379"},
        "Valkey at v1:6379 was restarted: ctrl-a registered 0 sessions again",
    ),
    ("valkey_lost", {"error": "Valkey: timed out"}, "ctrl-a lost contact with Valkey: timed out"),
    (
        "valkey_lost",
        {"error": "Valkey: timed out", "away_secs": "42"},
        "ctrl-a lost contact with Valkey 42 s before this: timed out",
    ),
    ("valkey_back", {"away_secs": "41"}, "ctrl-a has contact with Valkey again after 41 s"),
    (
        "database_lost",
        {},
        "ctrl-a lost contact with PostgreSQL: live sessions go on, log-ins and new sessions wait",
    ),
    ("database_back", {"away_secs": "41"}, "ctrl-a has contact with PostgreSQL again after 41 s"),
    ("disk_low", {"problem": "12 MB free"}, "ctrl-a runs out of disk space: 12 MB free"),
    (
        "breaker",
        {"circuit": "open", "provider": "claude", "model": "m", "reason": "answered 500"},
        "No calls to AI provider claude (m): answered 500",
    ),
    ("breaker", {"circuit": "half-open", "provider": "claude", "model": "m"}, "ctrl-a probes AI provider claude (m)"),
    (
        "breaker",
        {"circuit": "closed", "provider": "claude", "model": "m"},
        "Calls to AI provider claude (m) have resumed",
    ),
    (
        "clock",
        {"clock": "40 s ahead", "seen_by": "ctrl-b"},
        "The clock of ctrl-a is 40 s ahead, compared with ctrl-b",
    ),
    (
        "licence",
        {"change": "Enterprise, 20 seats, until 2027-01-31", "by": "ann"},
        "ann activated a licence: Enterprise, 20 seats, until 2027-01-31",
    ),
    ("licence", {"status": "grace", "change": "expired on 2027-01-31"}, "The licence expired on 2027-01-31"),
    ("inconsistent", {"problem": "they differ"}, "The instances do not agree: they differ"),
]


def event(kind: str, instance_id: str = "ctrl-a", **details: str) -> Event:
    return Event(1.0, kind, instance_id, details)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "details", "text"), SENTENCES)
def test_each_event_is_a_plain_sentence(kind: str, details: dict[str, str], text: str) -> None:
    assert text_of(event(kind, **details)) == text


def test_every_kind_has_a_sentence() -> None:
    assert {kind for kind, _, _ in SENTENCES} == set(get_args(EventKind))


@pytest.mark.parametrize("kind", get_args(EventKind))
def test_an_event_without_details_has_a_sentence_too(kind: str) -> None:
    assert "ctrl-a" in text_of(event(kind)) or kind in ("breaker", "licence", "inconsistent")


@pytest.mark.parametrize(("kind", "details"), [(kind, details) for kind, details, _ in SENTENCES])
def test_a_sentence_begins_with_a_capital_letter_or_a_name(kind: str, details: dict[str, str]) -> None:
    for text in (text_of(event(kind, **details)), text_of(event(kind))):
        assert text[0].isupper() or text.split()[0].rstrip(",:") in ("ctrl-a", "?", *details.values()), text


def test_an_unknown_kind_is_shown_with_its_details() -> None:
    assert text_of(event("exploded", loudly="yes", twice="no")) == "ctrl-a: exploded (loudly yes, twice no)"
    assert text_of(event("exploded")) == "ctrl-a: exploded"


def test_events_are_found_by_kind_and_by_any_instance_they_name() -> None:
    joined, reaped, left = event("joined", "ctrl-b"), event("reaped", "ctrl-x", by="ctrl-a"), event("left", "ctrl-a")
    events = [joined, reaped, left]
    assert matching(events) == events
    assert matching(events, kinds=["joined", "left"]) == [joined, left]
    assert matching(events, instance_id="ctrl-a") == [reaped, left]
    assert matching(events, kinds=["left"], instance_id="ctrl-b") == []


def test_a_restart_of_valkey_is_no_failover() -> None:
    restarted = Event(3.0, "failover", "ctrl-a", {"former": "v2:6379", "address": "v2:6379"})
    unknown = Event(2.5, "failover", "ctrl-a", {"sessions": "1"})
    moved = Event(2.0, "failover", "ctrl-a", {"former": "v1:6379", "address": "v2:6379"})
    earlier = Event(1.0, "failover", "ctrl-a", {"former": "v0:6379", "address": "v1:6379"})
    assert last_failover([restarted, unknown, Event(2.2, "joined", "ctrl-b"), moved, earlier]) == moved
    assert last_failover([restarted, unknown]) is None
