"""Licences: what is accepted, and what one is worth on a given day."""

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from netstacks.crypto.license import License, Tier, issue, judge, read
from netstacks.errors import InvalidInput

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def key_pair() -> tuple[str, str]:
    """A private and its public key in PEM format."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


PRIVATE, PUBLIC = key_pair()


def a_license(expires_at: datetime) -> License:
    return License("ACME", "team", 25, NOW - 300 * DAY, expires_at)


@pytest.mark.parametrize("tier", ["standalone", "team", "enterprise"])
def test_an_issued_licence_can_be_read(tier: Tier) -> None:
    key = issue(PRIVATE, customer="ACME", tier=tier, seats=25, expires_at=NOW)
    found = read(key, PUBLIC)
    assert (found.customer, found.tier, found.seats, found.expires_at) == ("ACME", tier, 25, NOW)


def test_line_breaks_from_a_mail_do_no_harm() -> None:
    key = issue(PRIVATE, customer="ACME", tier="team", seats=25, expires_at=NOW)
    assert read(f" {key[:50]}\n  {key[50:]}\n", PUBLIC).seats == 25


def test_a_licence_signed_with_another_key_is_refused() -> None:
    forged = issue(key_pair()[0], customer="ACME", tier="enterprise", seats=10_000, expires_at=NOW)
    with pytest.raises(InvalidInput, match="not signed for this product"):
        read(forged, PUBLIC)
    with pytest.raises(InvalidInput, match="not signed for this product"):
        read(forged)


def test_the_public_key_is_no_secret_to_sign_with() -> None:
    claims = {"customer": "x", "tier": "team", "seats": 1, "iat": 1, "exp": 2}
    for algorithm, secret in (("none", None), ("HS256", b"0" * 32)):
        with pytest.raises(InvalidInput):
            read(jwt.encode(claims, secret, algorithm=algorithm), PUBLIC)


@pytest.mark.parametrize("key", ["", "nonsense", "a.b.c", "eyJ", "valid-license"])
def test_text_that_is_no_licence_is_refused_in_words(key: str) -> None:
    with pytest.raises(InvalidInput, match="not a licence key"):
        read(key, PUBLIC)


@pytest.mark.parametrize("change", [{"tier": None}, {"seats": "many"}, {"exp": None}, {"customer": None}])
def test_a_signed_token_that_is_no_licence_is_refused(change: dict[str, object]) -> None:
    claims = {"customer": "x", "tier": "team", "seats": 1, "iat": 1, "exp": 2} | change
    claims = {name: value for name, value in claims.items() if value is not None}
    with pytest.raises(InvalidInput, match="not a licence key"):
        read(jwt.encode(claims, PRIVATE, algorithm="EdDSA"), PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 10**18},
        {"iat": -(10**18)},
        {"iat": float("inf")},
        {"seats": float("inf")},
        {"seats": -1},
        {"seats": 10**30},
        {"tier": ["team"]},
        {"exp": []},
    ],
    ids=str,
)
def test_a_signed_token_of_numbers_that_are_none_is_refused(change: dict[str, object]) -> None:
    claims = {"customer": "x", "tier": "team", "seats": 1, "iat": 1, "exp": 2} | change
    # As the library signs it, which refuses times that are no numbers.
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), PRIVATE, algorithm="EdDSA")
    with pytest.raises(InvalidInput):
        read(token, PUBLIC)


@pytest.mark.parametrize("key", [None, 7, [], {"key": "eyJ"}, True], ids=str)
def test_a_value_that_is_no_text_is_no_licence(key: object) -> None:
    with pytest.raises(InvalidInput, match="not a licence key"):
        read(key, PUBLIC)


def test_a_licence_for_ever_can_be_judged() -> None:
    assert judge(a_license(datetime.max.replace(tzinfo=UTC)), NOW).status == "active"


def test_a_tier_of_the_future_is_named() -> None:
    claims = {"customer": "x", "tier": "galactic", "seats": 1, "iat": 1, "exp": 2}
    with pytest.raises(InvalidInput, match="galactic"):
        read(jwt.encode(claims, PRIVATE, algorithm="EdDSA"), PUBLIC)


def test_only_an_ed25519_key_issues() -> None:
    with pytest.raises(InvalidInput, match="Ed25519"):
        issue("no key", customer="ACME", tier="team", seats=1, expires_at=NOW)


@pytest.mark.parametrize(
    ("expires_at", "status", "tier", "warning_level"),
    [
        (NOW + 31 * DAY, "active", "team", "none"),
        (NOW + 29 * DAY, "active", "team", "warning"),
        (NOW + timedelta(seconds=1), "active", "team", "warning"),
        (NOW, "grace", "team", "critical"),
        (NOW - 13 * DAY, "grace", "team", "critical"),
        (NOW - 14 * DAY, "expired", "standalone", "critical"),
    ],
)
def test_a_licence_warns_then_has_a_grace_then_counts_as_starter(
    expires_at: datetime, status: str, tier: str, warning_level: str
) -> None:
    grant = judge(a_license(expires_at), NOW)
    assert (grant.status, grant.tier, grant.seats, grant.warning_level) == (status, tier, 25, warning_level)


def test_without_a_licence_the_enterprise_tier_is_evaluated_and_says_so() -> None:
    grant = judge(None, NOW)
    assert (grant.status, grant.tier, grant.license) == ("evaluation", "enterprise", None)
    assert grant.warning_level != "none"
