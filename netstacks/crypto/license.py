"""Licences: signed facts about who may use how much. A compact JWT, signed with Ed25519.

The specification's tiers Starter, Teams and Enterprise are `standalone`, `team` and `enterprise` on the wire.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import jwt

from netstacks.errors import InvalidInput

Tier = Literal["standalone", "team", "enterprise"]
TIER_NAMES: dict[Tier, str] = {"standalone": "Starter", "team": "Teams", "enterprise": "Enterprise"}

# Its private half is with whoever sells licences; `netstacks license issue` takes it from a file.
PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAd7CTmtiyRlQ//VNEWzsd4KGsGHe7OES869votm2/KS0=
-----END PUBLIC KEY-----
"""


# A cluster must not fall apart on the day that a licence ends: everything goes on for this long, with warnings.
GRACE = timedelta(days=14)
# Warnings begin this long before the end.
NOTICE = timedelta(days=30)
EVALUATION_SEATS = 10
_MOST_SEATS = 2**31 - 1


@dataclass(frozen=True)
class License:
    """What a licence key says; `judge` tells what it is worth today."""

    customer: str
    tier: Tier
    seats: int
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Grant:
    """What may be used at this moment, and how urgently someone should look at the licence."""

    status: Literal["evaluation", "active", "grace", "expired"]
    tier: Tier
    seats: int
    warning_level: Literal["none", "warning", "critical"]
    license: License | None = None
    problem: str | None = None
    """Why a licence that is stored is not in force."""


def judge(license: License | None, now: datetime) -> Grant:
    """Without a licence: an evaluation of the enterprise tier. Past its grace a licence counts as Starter."""
    if license is None:
        return Grant("evaluation", "enterprise", EVALUATION_SEATS, "warning")
    if now < license.expires_at:
        warning: Literal["none", "warning"] = "warning" if license.expires_at - now < NOTICE else "none"
        return Grant("active", license.tier, license.seats, warning, license)
    # Not the sum of the two, which may be later than any date.
    if now - license.expires_at < GRACE:
        return Grant("grace", license.tier, license.seats, "critical", license)
    return Grant("expired", "standalone", license.seats, "critical", license)


def read(key: object, public_key: str = PUBLIC_KEY) -> License:
    """What a licence key says, expired or not; raises InvalidInput when it is none, or not signed by us."""
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
        if not 0 <= int(claims["seats"]) <= _MOST_SEATS:
            raise InvalidInput(f"the licence is for {claims['seats']} seats: at most {_MOST_SEATS} are known")
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
        raise InvalidInput("this is not a licence key: expected the whole text that begins with eyJ") from error


def issue(private_key: str, *, customer: str, tier: Tier, seats: int, expires_at: datetime) -> str:
    """A licence key signed with an Ed25519 private key (PEM); raises InvalidInput when that is none."""
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
