"""The tokens of users: signed JWTs for access, refresh and the page cookie, and the CSRF token of a page."""

import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

import jwt

from netstacks.store import logins

# Well above the 300 s before the end at which the client refreshes (wire contract, rule 2).
ACCESS_TTL = timedelta(hours=1)

# The clocks of instances may differ by this much.
_LEEWAY_SECS = 10


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
        """What a valid, unexpired token of this type says; None for anything else."""
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], leeway=_LEEWAY_SECS)
            if claims["typ"] != token_type:
                return None
            subject = Subject(UUID(claims["sub"]), claims["name"], claims["role"], UUID(claims["sid"]))
            return Claims(subject, claims.get("jti", ""), claims["exp"])
        except (jwt.InvalidTokenError, KeyError, ValueError):
            return None

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

    def _mac(self, message: str) -> str:
        return hmac.digest(self._secret, message.encode(), "sha256").hex()
