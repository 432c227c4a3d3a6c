"""Peer tokens: what an instance tells another one of a connection or a request, signed and short-lived."""

import hmac
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self
from uuid import UUID

import jwt

# Clocks of instances may differ by the leeway; the token itself is used within a dial.
TTL_SECS = 15
_LEEWAY_SECS = 10

Claims = Mapping[str, Any]


@dataclass(frozen=True)
class Visitor:
    """Whom an instance has authenticated, and what he may do with the session that he is brought to."""

    kind: Literal["control", "viewer"]
    permission: Literal["read-write", "read-only"]
    user_id: UUID | None
    username: str
    address: str | None
    share_id: str | None = None
    """The share that a viewer came by."""
    max_viewers: int | None = None
    expires_at: int | None = None
    """When the share ends, in seconds since 1970."""

    def claims(self) -> dict[str, Any]:
        return asdict(self) | {"user_id": str(self.user_id) if self.user_id else None}

    @classmethod
    def of(cls, claims: Claims) -> Self:
        user_id = claims["user_id"]
        return cls(**{**claims, "user_id": UUID(user_id) if user_id else None})


class PeerTokens:
    """Issues and verifies tokens; every instance with the same `JWT_SECRET` accepts them, users' tokens it never is."""

    def __init__(self, jwt_secret: str) -> None:
        self._key = hmac.digest(jwt_secret.encode(), b"netstacks peer token", "sha256")

    def issue(self, audience: str, path: str, claims: Claims) -> str:
        """A token for one request to `path` of the instance `audience`."""
        return jwt.encode(
            {"aud": audience, "sub": path, "exp": int(time.time()) + TTL_SECS, "claims": dict(claims)},
            self._key,
            algorithm="HS256",
        )

    def read(self, audience: str, path: str, token: str) -> Claims | None:
        """What a valid, unexpired token for this instance and path says; None for anything else."""
        try:
            body = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                audience=audience,
                subject=path,
                leeway=_LEEWAY_SECS,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.InvalidTokenError:
            return None
        claims: Claims = body["claims"]
        return claims
