"""Tokens: what they prove, and that the real client can read them."""

import base64
import itertools
import json
import time
from dataclasses import replace
from types import SimpleNamespace
from uuid import uuid4

import jwt
import pytest
import structlog.testing

from netstacks.web.auth.tokens import ACCESS_TTL, Subject, Tokens, TokenType

SECRET = "a secret of this test that is long enough"
ALICE = Subject(uuid4(), "alice", "operator", uuid4())


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET)


def test_a_token_tells_what_it_was_issued_for(tokens: Tokens) -> None:
    claims = tokens.read(TokenType.REFRESH, tokens.issue(TokenType.REFRESH, ALICE, "id-1"))
    assert claims is not None
    assert (claims.subject, claims.token_id) == (ALICE, "id-1")


@pytest.mark.parametrize("name", ["alice", "li.na@example.net", "müller", "a_b-c+d", "日本"])
def test_the_client_reads_the_end_of_an_access_token_with_plain_base64(tokens: Tokens, name: str) -> None:
    # Every alignment of the claims: `-` or `_` in the segment would switch the client's refreshing off.
    for padding in ("", "x", "xx"):
        token = tokens.issue(TokenType.ACCESS, Subject(uuid4(), name + padding, "viewer", uuid4()))
        segment = token.split(".")[1]
        assert not set(segment) & set("-_")
        claims = json.loads(base64.b64decode(segment + "=" * (-len(segment) % 4)))
        assert isinstance(claims["exp"], int)


def test_an_access_token_lives_an_hour(tokens: Tokens) -> None:
    claims = tokens.read(TokenType.ACCESS, tokens.issue(TokenType.ACCESS, ALICE))
    assert claims is not None
    assert 3500 < claims.expires_at - time.time() <= ACCESS_TTL.total_seconds() == 3600


@pytest.mark.parametrize("wanted", [TokenType.ACCESS, TokenType.PAGE])
def test_a_token_of_one_type_is_no_token_of_another(tokens: Tokens, wanted: TokenType) -> None:
    assert tokens.read(wanted, tokens.issue(TokenType.REFRESH, ALICE, "id-1")) is None


def test_instances_with_the_same_secret_accept_each_others_tokens(tokens: Tokens) -> None:
    assert Tokens(SECRET).read(TokenType.ACCESS, tokens.issue(TokenType.ACCESS, ALICE)) is not None


def test_a_token_signed_with_another_secret_is_refused(tokens: Tokens) -> None:
    assert tokens.read(TokenType.ACCESS, Tokens(SECRET + "!").issue(TokenType.ACCESS, ALICE)) is None


@pytest.mark.parametrize(
    "change",
    [{"exp": 1}, {"sub": "no uuid"}, {"sub": None}, {"typ": "admin"}, {"exp": None}, {"exp": "x"}],
)
def test_expired_or_deformed_claims_are_refused(tokens: Tokens, change: dict[str, object]) -> None:
    good = jwt.decode(tokens.issue(TokenType.ACCESS, ALICE), SECRET, algorithms=["HS256"])
    claims = {name: value for name, value in (good | change).items() if value is not None}
    assert tokens.read(TokenType.ACCESS, jwt.encode(claims, SECRET, algorithm="HS256")) is None


def test_an_unsigned_token_is_refused(tokens: Tokens) -> None:
    claims = jwt.decode(tokens.issue(TokenType.ACCESS, ALICE), SECRET, algorithms=["HS256"])
    assert tokens.read(TokenType.ACCESS, jwt.encode(claims, None, algorithm="none")) is None


@pytest.mark.parametrize("text", ["", "valid-token-123", "a.b.c", "\u2603"])
def test_a_malformed_token_is_refused(tokens: Tokens, text: str) -> None:
    assert tokens.read(TokenType.ACCESS, text) is None


def test_the_successor_of_a_refresh_token_id_can_be_told_only_with_the_secret(tokens: Tokens) -> None:
    claims = tokens.read(TokenType.REFRESH, tokens.issue(TokenType.REFRESH, ALICE, tokens.new_token_id()))
    assert claims is not None
    assert tokens.next_token_id(claims) == Tokens(SECRET).next_token_id(claims) != claims.token_id
    assert tokens.next_token_id(claims) != tokens.next_token_id(replace(claims, secret=b"another"))


NEW_SECRET = "another secret of this test that is long enough"


# The secret that signs, and the one that is accepted as well, at each step of a change.
STEPS = ((SECRET, None), (SECRET, NEW_SECRET), (NEW_SECRET, SECRET), (NEW_SECRET, None))


@pytest.mark.parametrize(("issuing", "reading"), itertools.product(range(4), repeat=2))
def test_while_the_secret_changes_instances_of_adjacent_steps_accept_each_others_tokens(
    issuing: int, reading: int
) -> None:
    is_held = STEPS[issuing][0] in STEPS[reading]
    assert is_held or abs(issuing - reading) > 1
    issuer, reader = Tokens(*STEPS[issuing]), Tokens(*STEPS[reading])
    assert (reader.read(TokenType.REFRESH, issuer.issue(TokenType.REFRESH, ALICE, "id-1")) is not None) == is_held
    assert reader.is_signed("text", issuer.sign("text")) == is_held
    assert reader.is_csrf(ALICE.login_id, issuer.csrf(ALICE.login_id)) == is_held


def test_two_instances_give_a_refresh_token_the_same_successor_while_the_secret_changes() -> None:
    first, then = Tokens(SECRET, NEW_SECRET), Tokens(NEW_SECRET, SECRET)
    token = first.issue(TokenType.REFRESH, ALICE, "id-1")
    (one, other) = (each.next_token_id(each.read(TokenType.REFRESH, token)) for each in (first, then))  # type: ignore[arg-type]
    assert one == other


@pytest.mark.parametrize("token_type", [TokenType.ACCESS, TokenType.REFRESH, TokenType.PAGE])
def test_a_token_is_good_by_the_clock_of_another_instance(tokens: Tokens, token_type: TokenType) -> None:
    """The reader is ahead by less than is tolerated, and the token's time is nearly over."""
    good = jwt.decode(tokens.issue(token_type, ALICE, "id-1"), SECRET, algorithms=["HS256"])
    late = jwt.encode(good | {"exp": int(time.time()) - 290}, SECRET, algorithm="HS256")
    assert tokens.read(token_type, late) is not None
    too_late = jwt.encode(good | {"exp": int(time.time()) - 310}, SECRET, algorithm="HS256")
    assert tokens.read(token_type, too_late) is None


def test_a_refused_token_leaves_one_line_with_the_reason_and_without_the_token(tokens: Tokens) -> None:
    wrong = {
        "expired": jwt.encode({"exp": 1}, SECRET, algorithm="HS256"),
        "Signature verification failed": Tokens(SECRET + "!").issue(TokenType.ACCESS, ALICE),
        "a token for refresh": tokens.issue(TokenType.REFRESH, ALICE, "id-1"),
    }
    for reason, token in wrong.items():
        with structlog.testing.capture_logs() as logged:
            Tokens(SECRET).read(TokenType.ACCESS, token)
        [line] = logged
        assert (line["event"], line["type"]) == ("token.refused", "access")
        assert reason in line["error"]
        assert token not in str(line)
    with structlog.testing.capture_logs() as logged:
        tokens.read(TokenType.ACCESS, "")
    assert logged == []


def test_a_flood_of_bad_tokens_is_a_line_now_and_then_with_their_count(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("netstacks.web.auth.tokens.time", SimpleNamespace(time=time.time, monotonic=lambda: now))
    with structlog.testing.capture_logs() as logged:
        for _ in range(50):
            tokens.read(TokenType.ACCESS, "a.b.c")
        now += 10
        tokens.read(TokenType.ACCESS, "a.b.c")
    assert [line["count"] for line in logged] == [1, 50]
