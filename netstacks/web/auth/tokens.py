"""The tokens of users: JWTs for access, refresh and the page cookie, and CSRF tokens."""

import contextlib
import hashlib
import hmac
import math
import secrets
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import jwt
import structlog
from cachetools import LRUCache

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.store import logins

log = structlog.get_logger()

# The client refreshes 300 s before the expiry: a TTL near that makes it refresh in a loop (docs/protocol.md, rule 2).
ACCESS_TTL = timedelta(hours=1)
# Invalid tokens are logged once per interval, with their count: unauthenticated clients can send any number.
_LOG_SECS = 10.0
_VERIFIED = 10_000


class TokenType(StrEnum):
    ACCESS = "access"
    REFRESH = "refresh"
    PAGE = "page"


_TTL = {TokenType.ACCESS: ACCESS_TTL, TokenType.REFRESH: logins.LOGIN_TTL, TokenType.PAGE: logins.PAGE_TTL}


@dataclass(frozen=True)
class Subject:
    """The user and log-in of a token, and the role; enough to serve a request while PostgreSQL is unreachable."""

    user_id: UUID
    username: str
    role: str
    login_id: UUID


@dataclass(frozen=True)
class Claims:
    """A verified token. `token_id` is empty unless it is a refresh token; `expires_at` is seconds since 1970."""

    subject: Subject
    token_id: str
    expires_at: int
    secret: bytes = field(repr=False)
    """The secret that it is signed with."""


class Tokens:
    """Issues and verifies tokens; every instance with the same `JWT_SECRET` accepts them.

    While the secret is changed, texts that are signed with `accepted` are valid, too (docs/security.md, Tokens).
    """

    def __init__(self, jwt_secret: str, accepted: str | None = None) -> None:
        self._secret = jwt_secret.encode()
        self._secrets = [each.encode() for each in (jwt_secret, accepted) if each is not None]
        self._unlogged = 0
        self._logged_at = -math.inf
        self._verified: LRUCache[bytes, Claims] = LRUCache(_VERIFIED)
        """The claims of valid tokens, by type and hash: to verify a token costs more than most requests do."""

    def issue(self, token_type: TokenType, subject: Subject, token_id: str = "") -> str:
        """A JWT (HS256) whose claims the web client can decode with plain base64 (docs/protocol.md, 3.1)."""
        claims = {
            "sub": str(subject.user_id),
            "name": subject.username,
            "role": subject.role,
            "sid": str(subject.login_id),
            "typ": token_type,
            "exp": int(time.time() + _TTL[token_type].total_seconds()),
        }
        if token_id:
            claims["jti"] = token_id
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def read(self, token_type: TokenType, token: str) -> Claims | None:
        """The claims of a valid, unexpired token of this type; None for anything else. The reason is logged."""
        if not token:
            return None
        key = hashlib.sha256(f"{token_type} {token}".encode(errors="replace")).digest()
        known = self._verified.get(key)
        if known is not None and time.time() < known.expires_at + TOLERATED_SECS:
            return known
        try:
            claims, secret = self._decode(token)
            if claims["typ"] != token_type:
                raise ValueError(f"it is a token for {claims['typ']}")
            subject = Subject(UUID(claims["sub"]), claims["name"], claims["role"], UUID(claims["sid"]))
            verified = self._verified[key] = Claims(subject, claims.get("jti", ""), claims["exp"], secret)
            return verified
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            self._log_refused(token_type, error)
            return None

    def _decode(self, token: str) -> tuple[dict[str, Any], bytes]:
        *others, last = self._secrets
        for secret in others:
            with contextlib.suppress(jwt.InvalidSignatureError):
                return _claims(token, secret), secret
        return _claims(token, last), last

    def _log_refused(self, token_type: TokenType, error: Exception) -> None:
        self._unlogged += 1
        if time.monotonic() - self._logged_at < _LOG_SECS:
            return
        reason = str(error) or type(error).__name__
        log.info("token.refused", type=token_type.value, error=reason, count=self._unlogged)
        self._unlogged = 0
        self._logged_at = time.monotonic()

    def new_token_id(self) -> str:
        """The id of a log-in's first refresh token."""
        return secrets.token_hex(16)

    def next_token_id(self, claims: Claims) -> str:
        """The id of the next refresh token after the one with these claims.

        It is derived, not random: two concurrent refreshes with the same token (docs/protocol.md, 3.2) get the same
        successor, although only hashes of ids are stored. It is derived with the token's own secret, because during a
        change of the secret two instances may sign with different ones.
        """
        return _mac(claims.secret, f"refresh-token-after:{claims.token_id}")[:32]

    def csrf(self, login_id: UUID) -> str:
        """The CSRF token that a page must send with a change."""
        return _mac(self._secret, f"csrf-of:{login_id}")

    def is_csrf(self, login_id: UUID, sent: str) -> bool:
        return self._is_mac(f"csrf-of:{login_id}", sent)

    def sign(self, text: str) -> str:
        """An HMAC-SHA256 of the text, in hex; the same on all instances with the same `JWT_SECRET`."""
        return _mac(self._secret, f"signed:{text}")

    def is_signed(self, text: str, signature: str) -> bool:
        """Whether `sign` has made the signature of this text, here or on another instance."""
        return self._is_mac(f"signed:{text}", signature)

    def _is_mac(self, message: str, sent: str) -> bool:
        given = sent.encode(errors="replace")
        return any(hmac.compare_digest(_mac(secret, message).encode(), given) for secret in self._secrets)


def _claims(token: str, secret: bytes) -> dict[str, Any]:
    # Leeway: the clock of the issuing instance may differ.
    return jwt.decode(token, secret, algorithms=["HS256"], leeway=TOLERATED_SECS)


def _mac(secret: bytes, message: str) -> str:
    return hmac.digest(secret, message.encode(), "sha256").hex()
