"""The tokens of shares: they say themselves what they allow, signed, so that no database need be asked."""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from netstacks.store.shares import Permission, Share

# Share and session id, the expiry in seconds since 1970, the most viewers, whether they may type.
_LAYOUT = struct.Struct(">16s16sIB?")
_MAC_BYTES = 16


@dataclass(frozen=True)
class Invitation:
    """What a genuine token says. Whether it has expired or was revoked is to be asked."""

    share_id: UUID
    session_id: UUID
    permission: Permission
    max_viewers: int
    expires_at: int


class ShareTokens:
    """Issues and verifies tokens; every instance with the same `JWT_SECRET` accepts them.

    A listing must show tokens again (wire contract 7), and a copy of the database must not give them away: a token is
    not stored but computed from the share's row, whose random id nobody can guess, and a key.
    """

    def __init__(self, jwt_secret: str) -> None:
        self._key = hmac.digest(jwt_secret.encode(), b"netstacks share token", "sha256")

    def issue(self, share: Share) -> str:
        """The token of a share, always the same: 72 characters that need no escaping in a URL."""
        facts = _LAYOUT.pack(
            share.id.bytes,
            share.session_id.bytes,
            min(int(share.expires_at.timestamp()), 2**32 - 1),
            share.max_viewers,
            share.permission == "read-write",
        )
        return base64.urlsafe_b64encode(facts + self._mac(facts)).decode()

    def read(self, token: str) -> Invitation | None:
        """What a genuine token says, though it may have expired; None for anything else."""
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        facts, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if len(facts) < _LAYOUT.size or not hmac.compare_digest(mac, self._mac(facts)):
            return None
        share_id, session_id, expires_at, max_viewers, may_type = _LAYOUT.unpack(facts)
        permission: Permission = "read-write" if may_type else "read-only"
        return Invitation(UUID(bytes=share_id), UUID(bytes=session_id), permission, max_viewers, expires_at)

    def _mac(self, facts: bytes) -> bytes:
        return hmac.digest(self._key, facts, "sha256")[:_MAC_BYTES]
