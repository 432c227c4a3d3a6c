"""The tokens of users: signed JWTs for access, refresh and the page cookie, and the CSRF token of a page."""

import hashlib
import hmac
import math
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

import jwt
import structlog
from cachetools import LRUCache

from netstacks.cluster.clocks import TOLERATED_SECS
from netstacks.store import logins

log = structlog.get_logger()

# Well above the 300 s before the end at which the client refreshes (wire contract, rule 2).
ACCESS_TTL = timedelta(hours=1)
# Anybody can send bad tokens: they are logged once in this time, with their count.
_LOG_SECS = 10.0
_VERIFIED = 10_000


class TokenType(StrEnum):
    ACCESS = "access"
    REFRESH = "refresh"
    PAGE = "page"


_TTL = {TokenType.ACCESS: ACCESS_TTL, TokenType.REFRESH: logins.LOGIN_TTL, TokenType.PAGE: logins.PAGE_TTL}


@dataclass(frozen=True)
class Subject:
    """Who a token speaks for, and by which log-in; enough to serve a request while PostgreSQL is away."""

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


class Tokens:
    """Issues and verifies tokens; every instance with the same `JWT_SECRET` accepts them."""

    def __init__(self, jwt_secret: str) -> None:
        self._secret = jwt_secret.encode()
        self._unlogged = 0
        self._logged_at = -math.inf
        self._verified: LRUCache[bytes, Claims] = LRUCache(_VERIFIED)
        """What good tokens say, by type and hash: one is sent with every request, and verifying it costs more than most
        requests do."""

    def issue(self, token_type: TokenType, subject: Subject, token_id: str = "") -> str:
        """A JWT (HS256) whose claims the web client can decode with plain base64 (wire contract 3.1)."""
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
        """What a valid, unexpired token of this type says; None for anything else, with the reason in the log."""
        if not token:
            return None
        key = hashlib.sha256(f"{token_type} {token}".encode(errors="replace")).digest()
        known = self._verified.get(key)
        if known is not None and time.time() < known.expires_at + TOLERATED_SECS:
            return known
        try:
            # The instance that issued it may have another time.
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], leeway=TOLERATED_SECS)
            if claims["typ"] != token_type:
                raise ValueError(f"it is a token for {claims['typ']}")
            subject = Subject(UUID(claims["sub"]), claims["name"], claims["role"], UUID(claims["sid"]))
            verified = self._verified[key] = Claims(subject, claims.get("jti", ""), claims["exp"])
            return verified
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            self._log_refused(token_type, error)
            return None

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

    def next_token_id(self, token_id: str) -> str:
        """The id that follows in a chain of refresh tokens.

        It is computed, not random, so that two refreshes with the same token (wire contract 3.2) get the same
        successor, although only hashes of ids are stored.
        """
        return self._mac(f"refresh-token-after:{token_id}")[:32]

    def csrf(self, login_id: UUID) -> str:
        """What a page must send along to act by its cookie."""
        return self._mac(f"csrf-of:{login_id}")

    def sign(self, text: str) -> str:
        """A signature that any instance with the same secret makes of the same text."""
        return self._mac(f"signed:{text}")

    def _mac(self, message: str) -> str:
        return hmac.digest(self._secret, message.encode(), "sha256").hex()
