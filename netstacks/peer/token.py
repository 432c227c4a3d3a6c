"""Peer tokens: signed, short-lived claims about a connection or a request, from one instance to another."""

import contextlib
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

# By the clock of the issuing instance: a token is used within one dial.
TTL_SECS = 15
# By the clock of the verifying instance, when it is behind by as much as is tolerated.
_MAX_VALIDITY_SECS = TTL_SECS + 2 * TOLERATED_SECS
# Many more tokens than one instance receives within that time, even when all clients reconnect at once.
_MAX_USED = 100_000

Claims = Mapping[str, Any]


@dataclass(frozen=True)
class PeerPrincipal:
    """The authenticated principal of a connection, and its permission in the session."""

    kind: Literal["control", "viewer"]
    permission: Literal["read-write", "read-only"]
    user_id: UUID | None
    username: str
    address: str | None
    share_id: str | None = None
    """The share of a viewer."""
    max_viewers: int | None = None
    expires_at: int | None = None
    """When the share ends, in seconds since 1970."""

    def claims(self) -> dict[str, Any]:
        return asdict(self) | {"user_id": str(self.user_id) if self.user_id else None}


class PeerTokens:
    """Issues and verifies tokens for all instances with the same `JWT_SECRET`; a user's token is never accepted.

    A token is accepted once: otherwise an eavesdropper on an unencrypted network could replay it for as long as clocks
    may differ. Its audience is one instance, which is one process, so a cache in memory is enough.
    """

    def __init__(self, jwt_secret: str, accepted: str | None = None) -> None:
        """Tokens that are signed with `accepted` are valid, too: see `web.auth.tokens`."""
        self._keys = [
            hmac.digest(each.encode(), b"netstacks peer token", "sha256")
            for each in (jwt_secret, accepted)
            if each is not None
        ]
        # Kept for as long as a token can be valid here: a shorter time would allow a replay.
        self._used: TTLCache[str, bool] = TTLCache(_MAX_USED, _MAX_VALIDITY_SECS)

    def issue(self, audience: str, path: str, claims: Claims) -> str:
        """A token for one request to `path` of the instance `audience`."""
        now = int(time.time())
        body = {"aud": audience, "sub": path, "iat": now, "exp": now + TTL_SECS, "jti": secrets.token_urlsafe(12)}
        return jwt.encode({**body, "claims": dict(claims)}, self._keys[0], algorithm="HS256")

    def read(self, audience: str, path: str, token: str) -> Claims:
        """The claims of a valid token for this instance and path that was not used before.

        Raises Forbidden with the reason, and MalformedClaims for a valid token without claims.
        """
        try:
            body = self._decode(audience, path, token)
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            raise Forbidden(f"the peer token is {_age(token)}: {ADVICE}") from error
        except jwt.InvalidSignatureError as error:
            raise Forbidden("the peer token was signed with another JWT_SECRET") from error
        except jwt.InvalidTokenError as error:
            raise Forbidden(f"the peer token is not valid for this request: {error}") from error
        # During a rolling upgrade, instances of the previous version send no `jti`.
        if (token_id := body.get("jti")) is not None:
            if token_id in self._used:
                raise Forbidden("the peer token was used before")
            self._used[token_id] = True
        claims = body.get("claims")
        if not isinstance(claims, dict):
            raise MalformedClaims("the claims of the peer are malformed: claims: must be a JSON object")
        return claims

    def _decode(self, audience: str, path: str, token: str) -> dict[str, Any]:
        *others, last = self._keys
        for key in others:
            with contextlib.suppress(jwt.InvalidSignatureError):
                return _body(audience, path, token, key)
        return _body(audience, path, token, last)


def _body(audience: str, path: str, token: str, key: bytes) -> dict[str, Any]:
    return jwt.decode(
        token,
        key,
        algorithms=["HS256"],
        audience=audience,
        subject=path,
        leeway=TOLERATED_SECS,
        options={"require": ["exp", "aud", "sub"]},
    )


def _age(token: str) -> str:
    """The age of a correctly signed token in words, by the clocks of both hosts."""
    try:
        ends_at = int(jwt.decode(token, options={"verify_signature": False})["exp"])
        age_secs = time.time() - (ends_at - TTL_SECS)
    except (TypeError, ValueError, OverflowError):
        return "without a valid time"
    return f"{age_secs:.0f} s old" if age_secs >= 0 else f"from a clock that is {-age_secs:.0f} s ahead"
