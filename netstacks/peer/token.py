"""Peer tokens: what an instance tells another one of a connection or a request, signed and short-lived."""

import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal
from uuid import UUID

import jwt
from cachetools import TTLCache

from netstacks.cluster.clocks import ADVICE, TOLERATED_SECS
from netstacks.errors import Forbidden, MalformedClaims

# By the clock of the instance that issues it: a token is used within a dial.
TTL_SECS = 15
# By the clock of the instance that reads it, when that clock is behind by as much as is tolerated.
_LONGEST_VALIDITY_SECS = TTL_SECS + 2 * TOLERATED_SECS
# Many more than one instance is asked within that time, even when everybody comes back at once.
_MAX_USED = 100_000

Claims = Mapping[str, Any]


@dataclass(frozen=True)
class PeerPrincipal:
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


class PeerTokens:
    """Issues and verifies tokens; every instance with the same `JWT_SECRET` accepts them, users' tokens it never is.

    A token is read once. It is for one instance, which is one process, so the memory of that process is enough to
    know; without that, an eavesdropper on an unencrypted network could use a terminal for as long as clocks may differ.
    """

    def __init__(self, jwt_secret: str) -> None:
        self._key = hmac.digest(jwt_secret.encode(), b"netstacks peer token", "sha256")
        self._used: TTLCache[str, bool] = TTLCache(_MAX_USED, _LONGEST_VALIDITY_SECS)

    def issue(self, audience: str, path: str, claims: Claims) -> str:
        """A token for one request to `path` of the instance `audience`."""
        now = int(time.time())
        body = {"aud": audience, "sub": path, "iat": now, "exp": now + TTL_SECS, "jti": secrets.token_urlsafe(12)}
        return jwt.encode({**body, "claims": dict(claims)}, self._key, algorithm="HS256")

    def read(self, audience: str, path: str, token: str) -> Claims:
        """What a valid token for this instance and path says, the first time; raises Forbidden with the reason.

        Raises MalformedClaims when it is valid and says nothing.
        """
        try:
            body = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                audience=audience,
                subject=path,
                leeway=TOLERATED_SECS,
                options={"require": ["exp", "aud", "sub"]},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            raise Forbidden(f"the peer token is {_age(token)}: {ADVICE}") from error
        except jwt.InvalidSignatureError as error:
            raise Forbidden("the peer token was signed with another JWT_SECRET") from error
        except jwt.InvalidTokenError as error:
            raise Forbidden(f"no peer token for this request to this instance: {error}") from error
        # An instance of the former version names none, during a rolling upgrade.
        if (token_id := body.get("jti")) is not None:
            if token_id in self._used:
                raise Forbidden("the peer token was used before")
            self._used[token_id] = True
        claims = body.get("claims")
        if not isinstance(claims, dict):
            raise MalformedClaims("what the peer says is malformed: claims: must be a JSON object")
        return claims


def _age(token: str) -> str:
    """How old a token with a good signature is, by the clocks of both hosts."""
    try:
        ends_at = int(jwt.decode(token, options={"verify_signature": False})["exp"])
        age_secs = time.time() - (ends_at - TTL_SECS)
    except (TypeError, ValueError, OverflowError):
        return "of no time"
    return f"{age_secs:.0f} s old" if age_secs >= 0 else f"of a clock that is {-age_secs:.0f} s ahead"
