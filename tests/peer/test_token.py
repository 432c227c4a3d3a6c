"""Peer tokens are good once, for one instance and one request, though clocks differ; users' tokens never are."""

import hmac
import re
import time
import uuid
from datetime import datetime, tzinfo
from types import SimpleNamespace

import jwt
import pytest

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.errors import Forbidden
from netstacks.peer import claims, token
from netstacks.peer.claims import ForPrincipal
from netstacks.peer.token import PeerPrincipal, PeerTokens

SECRET = "a secret of the tests that is long enough"
PATH = "/peer/sessions/1/terminal"
TOKENS = PeerTokens(SECRET)


class Clock(datetime):
    """The wall clock, as far as tokens are issued and read by it. It moves by `ahead_secs` only."""

    began_at = 0.0
    ahead_secs = 0.0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.fromtimestamp(cls.began_at + cls.ahead_secs, tz)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(Clock, "began_at", time.time())
    monkeypatch.setattr(Clock, "ahead_secs", 0.0)
    monkeypatch.setattr("jwt.api_jwt.datetime", Clock)
    wall_clock = SimpleNamespace(time=lambda: Clock.began_at + Clock.ahead_secs)
    monkeypatch.setattr("netstacks.peer.token.time", wall_clock)
    return Clock


def test_a_signed_token_is_read() -> None:
    assert TOKENS.read("ctrl-a", PATH, TOKENS.issue("ctrl-a", PATH, {"epoch": 3})) == {"epoch": 3}


@pytest.mark.parametrize("principal", [
    PeerPrincipal("control", "read-write", uuid.uuid4(), "alice", "10.0.0.1"),
    PeerPrincipal("viewer", "read-only", None, "a guest", None, str(uuid.UUID(int=7)), 5, 1_900_000_000),
])  # fmt: skip
def test_a_principal_arrives_as_it_was_sent(principal: PeerPrincipal) -> None:
    said = TOKENS.read("ctrl-a", PATH, TOKENS.issue("ctrl-a", PATH, {"epoch": 1, "visitor": principal.claims()}))
    assert claims.read(ForPrincipal, said).principal() == principal


def refusal(audience: str, path: str, issued: str, tokens: PeerTokens = TOKENS) -> str:
    with pytest.raises(Forbidden) as refused:
        tokens.read(audience, path, issued)
    return str(refused.value)


def test_a_token_is_no_good_elsewhere_and_the_reason_is_told() -> None:
    issued = TOKENS.issue("ctrl-a", PATH, {})
    assert "not valid for this request" in refusal("ctrl-b", PATH, issued)
    assert "not valid for this request" in refusal("ctrl-a", PATH.replace("terminal", "end"), issued)
    other = PeerTokens("another secret that is long enough too")
    assert "another JWT_SECRET" in refusal("ctrl-a", PATH, issued, other)
    assert TOKENS.read("ctrl-a", PATH, issued) == {}


def test_while_the_secret_changes_both_are_accepted() -> None:
    other = PeerTokens("another secret of these tests, that is long enough")
    both = PeerTokens("another secret of these tests, that is long enough", SECRET)
    for issuer in (TOKENS, other):
        issued = issuer.issue("ctrl-a", PATH, {"a": 1})
        assert "not valid for this request" in refusal("ctrl-b", PATH, issued, both)
        assert "not valid for this request" in refusal("ctrl-a", PATH.replace("terminal", "end"), issued, both)
        assert both.read("ctrl-a", PATH, issued) == {"a": 1}
    assert "another JWT_SECRET" in refusal("ctrl-a", PATH, both.issue("ctrl-a", PATH, {}))


def test_a_token_is_used_once() -> None:
    one, two = TOKENS.issue("ctrl-a", PATH, {}), TOKENS.issue("ctrl-a", PATH, {})
    TOKENS.read("ctrl-a", PATH, one)
    assert refusal("ctrl-a", PATH, one) == "the peer token was used before"
    TOKENS.read("ctrl-a", PATH, two)


@pytest.mark.parametrize("skew_secs", [-295, -40, 0, 40, 295])
def test_a_clock_within_what_is_tolerated_is_no_reason(skew_secs: int, clock: type[Clock]) -> None:
    issued = TOKENS.issue("ctrl-a", PATH, {"epoch": 3})
    clock.ahead_secs = skew_secs
    assert TOKENS.read("ctrl-a", PATH, issued) == {"epoch": 3}


@pytest.mark.parametrize(("skew_secs", "told"), [(325, r"is 32\d s old"), (-315, r"from a clock that is 31\d s ahead")])
def test_a_clock_beyond_that_is_named_as_the_reason(skew_secs: int, told: str, clock: type[Clock]) -> None:
    issued = TOKENS.issue("ctrl-a", PATH, {})
    clock.ahead_secs = skew_secs
    reason = refusal("ctrl-a", PATH, issued)
    assert re.search(told, reason)
    assert "run a time service" in reason


def test_a_used_token_is_remembered_for_as_long_as_it_could_be_valid(clock: type[Clock]) -> None:
    """The reader's clock is behind by as much as is tolerated, and goes on."""
    tokens = PeerTokens(SECRET)
    issued = tokens.issue("ctrl-a", PATH, {})
    clock.ahead_secs = -TOLERATED_SECS
    tokens.read("ctrl-a", PATH, issued)
    clock.ahead_secs = token.TTL_SECS + TOLERATED_SECS - 1
    assert refusal("ctrl-a", PATH, issued, tokens) == "the peer token was used before"
    clock.ahead_secs = token.TTL_SECS + TOLERATED_SECS + 1
    assert "s old" in refusal("ctrl-a", PATH, issued, tokens)


def test_a_token_signed_with_the_users_key_is_refused() -> None:
    now = int(time.time())
    body = {"aud": "ctrl-a", "sub": PATH, "iat": now, "exp": now + 60, "jti": "1", "claims": {}}
    refusal("ctrl-a", PATH, jwt.encode(body, SECRET, algorithm="HS256"))
    refusal("ctrl-a", PATH, jwt.encode(body, "", algorithm="none"))
    refusal("ctrl-a", PATH, "")


def test_a_token_of_the_former_version_is_read_during_a_rolling_upgrade() -> None:
    key = hmac.digest(SECRET.encode(), b"netstacks peer token", "sha256")
    former = {"aud": "ctrl-a", "sub": PATH, "exp": int(time.time()) + 15, "claims": {"epoch": 3}}
    assert TOKENS.read("ctrl-a", PATH, jwt.encode(former, key, algorithm="HS256")) == {"epoch": 3}


@pytest.mark.parametrize("missing", ["exp", "aud", "sub"])
def test_a_token_without_an_end_an_audience_or_a_request_is_refused(missing: str) -> None:
    """The signature is valid: another version of this program, or a bug in it, could issue such a token."""
    key = hmac.digest(SECRET.encode(), b"netstacks peer token", "sha256")
    body = {"aud": "ctrl-a", "sub": PATH, "exp": int(time.time()) + 15, "claims": {"epoch": 3}}
    del body[missing]
    assert f'missing the "{missing}" claim' in refusal("ctrl-a", PATH, jwt.encode(body, key, algorithm="HS256"))
