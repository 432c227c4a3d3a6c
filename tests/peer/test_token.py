"""Peer tokens are good for one instance, one request and a few seconds; users' tokens never are."""

import time
import uuid

import jwt
import pytest

from netstacks.peer import token
from netstacks.peer.token import PeerTokens, Visitor

SECRET = "a secret of the tests that is long enough"
PATH = "/peer/sessions/1/terminal"
TOKENS = PeerTokens(SECRET)


def test_what_was_signed_is_read() -> None:
    assert TOKENS.read("ctrl-a", PATH, TOKENS.issue("ctrl-a", PATH, {"epoch": 3})) == {"epoch": 3}


@pytest.mark.parametrize("visitor", [
    Visitor("control", "read-write", uuid.uuid4(), "alice", "10.0.0.1"),
    Visitor("viewer", "read-only", None, "a guest", None, "share-1", 5),
])  # fmt: skip
def test_a_visitor_arrives_as_he_was_sent(visitor: Visitor) -> None:
    said = TOKENS.read("ctrl-a", PATH, TOKENS.issue("ctrl-a", PATH, {"visitor": visitor.claims()}))
    assert said is not None
    assert Visitor.of(said["visitor"]) == visitor


def test_a_token_is_no_good_elsewhere() -> None:
    issued = TOKENS.issue("ctrl-a", PATH, {})
    assert TOKENS.read("ctrl-b", PATH, issued) is None
    assert TOKENS.read("ctrl-a", PATH.replace("terminal", "end"), issued) is None
    assert PeerTokens("another secret that is long enough too").read("ctrl-a", PATH, issued) is None


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "TTL_SECS", -60)
    assert TOKENS.read("ctrl-a", PATH, TOKENS.issue("ctrl-a", PATH, {})) is None


def test_what_is_signed_with_the_users_key_is_refused() -> None:
    body = {"aud": "ctrl-a", "sub": PATH, "exp": int(time.time()) + 60, "claims": {}}
    assert TOKENS.read("ctrl-a", PATH, jwt.encode(body, SECRET, algorithm="HS256")) is None
    assert TOKENS.read("ctrl-a", PATH, jwt.encode(body, "", algorithm="none")) is None
    assert TOKENS.read("ctrl-a", PATH, "") is None
