"""Tickets keep a place in the queue: for their holder, for their terminal, and until they expire."""

import time
import uuid

import pytest

from netstacks.web.admission import tickets
from netstacks.web.auth.tokens import Tokens

TOKENS = Tokens("a secret of this test that is long enough")
ANA, SESSION = uuid.UUID(int=1), uuid.UUID(int=2)


def is_now(since: float) -> bool:
    return abs(since - time.time()) < 30


def test_any_instance_with_the_same_secret_knows_since_when_its_holder_waits() -> None:
    since = round(time.time() - 100, 3)
    ticket = tickets.issue(TOKENS, ANA, SESSION, since)
    assert tickets.since(Tokens("a secret of this test that is long enough"), ANA, SESSION, ticket) == since


def test_a_ticket_without_a_session_is_for_a_new_one() -> None:
    since = round(time.time() - 100, 3)
    ticket = tickets.issue(TOKENS, ANA, None, since)
    assert tickets.since(TOKENS, ANA, None, ticket) == since
    assert is_now(tickets.since(TOKENS, ANA, SESSION, ticket))


@pytest.mark.parametrize("wrong", ["another user", "another session", "another time", "another secret"])
def test_a_ticket_that_was_not_given_for_this_counts_for_nothing(wrong: str) -> None:
    since = time.time() - 100
    ticket = tickets.issue(TOKENS, ANA, SESSION, since)
    user, session, tokens = ANA, SESSION, TOKENS
    match wrong:
        case "another user":
            user = uuid.uuid4()
        case "another session":
            session = uuid.uuid4()
        case "another time":
            ticket = f"{round(since * 1000) - 1000}.{ticket.partition('.')[2]}"
        case "another secret":
            tokens = Tokens("another secret of this test, long enough")
    assert is_now(tickets.since(tokens, user, session, ticket))


@pytest.mark.parametrize("text", ["", ".", "1.", "x.y", "1e3.y", "9" * 400 + ".y", "１２.ü", "-5.a"])
def test_a_malformed_ticket_counts_for_nothing(text: str) -> None:
    assert is_now(tickets.since(TOKENS, ANA, SESSION, text))


@pytest.mark.parametrize("secs", [-7200, 7200])
def test_an_old_ticket_and_one_from_the_future_count_for_nothing(secs: float) -> None:
    ticket = tickets.issue(TOKENS, ANA, SESSION, time.time() + secs)
    assert is_now(tickets.since(TOKENS, ANA, SESSION, ticket))
