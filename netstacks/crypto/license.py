"""Licence keys: customer, tier, seats and expiry in a compact JWT, signed with Ed25519 (EdDSA, RFC 8037).

The tiers Starter, Teams and Enterprise are `standalone`, `team` and `enterprise` on the wire.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import jwt

from netstacks.errors import InvalidInput

Tier = Literal["standalone", "team", "enterprise"]
TIER_NAMES: dict[Tier, str] = {"standalone": "Starter", "team": "Teams", "enterprise": "Enterprise"}

# The vendor keeps the private key; `netstacks license issue` reads it from a file.
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAd7CTmtiyRlQ//VNEWzsd4KGsGHe7OES869votm2/KS0=
-----END PUBLIC KEY-----
"""


# After its expiry a licence stays in force for this long, with warnings: a cluster must not fail on that day.
GRACE = timedelta(days=14)
# Warnings begin this long before the expiry.
NOTICE = timedelta(days=30)
EVALUATION_SEATS = 10
_MAX_SEATS = 2**31 - 1


@dataclass(frozen=True)
class License:
    """The content of a licence key; `judge` derives what it grants at a given time."""

    customer: str
    tier: Tier
    seats: int
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Grant:
    """What the licence grants at a given time, and the urgency of a warning about it."""

    status: Literal["evaluation", "active", "grace", "expired"]
    tier: Tier
    seats: int
    warning_level: Literal["none", "warning", "critical"]
    license: License | None = None
    problem: str | None = None
    """Why a stored licence is not in force."""


def judge(license: License | None, now: datetime) -> Grant:
    """What a licence grants at `now`. Without a licence: an evaluation of Enterprise. After GRACE: Starter."""
    if license is None:
        return Grant("evaluation", "enterprise", EVALUATION_SEATS, "warning")
    if now < license.expires_at:
        warning: Literal["none", "warning"] = "warning" if license.expires_at - now < NOTICE else "none"
        return Grant("active", license.tier, license.seats, warning, license)
    # A difference, because the sum of expiry and grace may exceed the largest datetime.
    if now - license.expires_at < GRACE:
        return Grant("grace", license.tier, license.seats, "critical", license)
    return Grant("expired", "standalone", license.seats, "critical", license)


def read(key: object, public_key: str = PUBLIC_KEY) -> License:
    """The content of a licence key, expired or not; raises InvalidInput for other text and for a wrong signature."""
    try:
        if not isinstance(key, str):
            raise ValueError("a licence key is text")
        claims = jwt.decode(
            "".join(key.split()),
            public_key,
            algorithms=["EdDSA"],
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat"]},
        )
        if claims["tier"] not in get_args(Tier):
            raise InvalidInput(f"the licence is for the tier {claims['tier']}, which this version does not know")
        if not 0 <= int(claims["seats"]) <= _MAX_SEATS:
            raise InvalidInput(f"the licence is for {claims['seats']} seats: at most {_MAX_SEATS} are known")
        return License(
            customer=str(claims["customer"]),
            tier=claims["tier"],
            seats=int(claims["seats"]),
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )
    except jwt.InvalidSignatureError as error:
        raise InvalidInput("the licence key was altered, or was not signed for this product") from error
    except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, OverflowError, OSError) as error:
        raise InvalidInput("this is not a licence key: paste the whole text, which begins with eyJ") from error


def issue(private_key: str, *, customer: str, tier: Tier, seats: int, expires_at: datetime) -> str:
    """A licence key, signed with an Ed25519 private key in PEM; raises InvalidInput for any other private key."""
    claims = {
        "customer": customer,
        "tier": tier,
        "seats": seats,
        "iat": int(time.time()),
        "exp": int(expires_at.timestamp()),
    }
    try:
        return jwt.encode(claims, private_key, algorithm="EdDSA")
    except (jwt.InvalidKeyError, ValueError, TypeError) as error:
        raise InvalidInput("the private key must be an unencrypted Ed25519 key in PEM format") from error
