"""The tokens of shares: made from the row, refused when a bit of them is another."""

import base64
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from netstacks.store.shares import Permission, Share
from netstacks.web.auth.share_tokens import Invitation, ShareTokens

SHARE = Share(
    id=uuid4(),
    session_id=uuid4(),
    permission="read-only",
    max_viewers=5,
    created_by="lee",
    created_at=datetime(2030, 1, 1, tzinfo=UTC),
    expires_at=datetime(2030, 1, 1, 1, tzinfo=UTC),
    revoked_at=None,
)
TOKENS = ShareTokens("a secret of this test that is long enough")


@pytest.mark.parametrize("permission", ["read-only", "read-write"])
def test_a_token_says_what_the_share_allows(permission: Permission) -> None:
    share = replace(SHARE, permission=permission)
    expected = Invitation(share.id, share.session_id, permission, 5, int(share.expires_at.timestamp()))
    assert TOKENS.read(TOKENS.issue(share)) == expected


def test_a_listing_shows_the_same_token_again() -> None:
    assert TOKENS.issue(SHARE) == ShareTokens("a secret of this test that is long enough").issue(SHARE)


def test_no_bit_of_a_token_can_be_changed() -> None:
    raw = base64.urlsafe_b64decode(TOKENS.issue(SHARE))
    for position in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[position // 8] ^= 1 << position % 8
        assert TOKENS.read(base64.urlsafe_b64encode(forged).decode()) is None


@pytest.mark.parametrize("token", ["", "nonsense", "ä" * 72, "A" * 72, "A" * 71])
def test_a_malformed_share_token_is_none(token: str) -> None:
    assert TOKENS.read(token) is None


def test_another_secret_makes_other_tokens() -> None:
    assert ShareTokens("another secret, just as long as that").read(TOKENS.issue(SHARE)) is None


def test_while_the_secret_changes_a_link_of_before_is_good() -> None:
    changed = ShareTokens("another secret, just as long as that", "a secret of this test that is long enough")
    assert changed.read(TOKENS.issue(SHARE)) == TOKENS.read(TOKENS.issue(SHARE)) is not None
    assert TOKENS.read(changed.issue(SHARE)) is None
