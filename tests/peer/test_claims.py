"""The claims in requests between instances: malformed ones are refused with the name of the member."""

from typing import Any
from uuid import uuid4

import pytest

from netstacks.errors import MalformedClaims
from netstacks.peer import claims
from netstacks.peer.claims import Ending, ForPrincipal, Nothing, Wanted

VIEWER = {"kind": "viewer", "permission": "read-only", "user_id": None, "username": "bo", "address": None}


def test_claims_of_the_form_are_read_and_further_members_are_ignored() -> None:
    ending = claims.read(Ending, {"epoch": 3, "reason": "ended by ann", "from a newer version": True})
    assert (ending.epoch, ending.reason, ending.only_detached) == (3, "ended by ann", False)
    assert claims.read(Nothing, {}) == Nothing()


@pytest.mark.parametrize(
    ("form", "given", "reason"),
    [
        (Ending, {"epoch": 3, "reason": "a\0b"}, "reason: Value error, must not hold NUL characters"),
        (Ending, {"epoch": 0, "reason": "a"}, "epoch: Input should be greater than or equal to 1"),
        (Ending, {"epoch": 2**31, "reason": "a"}, "epoch: Input should be less than 2147483648"),
        (Ending, {"epoch": 1, "reason": "a" * 1001}, "reason: String should have at most 1000 characters"),
        (Ending, {"epoch": 1}, "reason: Field required"),
        (Ending, ["epoch"], "claims: Input should be a valid dictionary or instance of Ending"),
        (Wanted, {}, "claims: Value error, a look-up needs the id or the token of a session"),
        (ForPrincipal, {"epoch": 1, "visitor": VIEWER}, "visitor: Value error, a viewer needs a share with its limits"),
        (
            ForPrincipal,
            {"epoch": 1, "visitor": {**VIEWER, "kind": "control"}},
            "visitor: Value error, a terminal needs a user",
        ),
        (ForPrincipal, {"epoch": 1, "visitor": {**VIEWER, "max_viewers": 0}}, "visitor.max_viewers: Input should be"),
    ],
)
def test_the_first_wrong_member_is_named(form: type[Any], given: Any, reason: str) -> None:
    with pytest.raises(MalformedClaims) as refused:
        claims.read(form, given)
    assert str(refused.value).startswith(f"the claims of the peer are malformed: {reason}")


def test_a_viewers_share_is_a_text_and_a_users_terminal_has_none() -> None:
    share_id, user_id = uuid4(), uuid4()
    limits = {"share_id": str(share_id), "max_viewers": 5, "expires_at": 10}
    viewer = claims.read(ForPrincipal, {"epoch": 1, "visitor": {**VIEWER, **limits}}).principal()
    assert (viewer.share_id, viewer.max_viewers, viewer.expires_at) == (str(share_id), 5, 10)
    user = {**VIEWER, "kind": "control", "user_id": str(user_id)}
    assert claims.read(ForPrincipal, {"epoch": 1, "visitor": user}).principal().share_id is None
