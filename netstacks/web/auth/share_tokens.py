"""The tokens of shares. They are signed and contain what they allow, so that they work without the database."""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from uuid import UUID

from netstacks.store.shares import Permission, Share

# Share id, session id, expiry in seconds since 1970, maximum number of viewers, whether they may type.
_LAYOUT = struct.Struct(">16s16sIB?")
_MAC_BYTES = 16


@dataclass(frozen=True)
class Invitation:
    """The content of a valid token. The caller must check expiry and revocation."""

    share_id: UUID
    session_id: UUID
    permission: Permission
    max_viewers: int
    expires_at: int


class ShareTokens:
    """Issues and verifies tokens; every instance with the same `JWT_SECRET` accepts them.

    The list of shares shows tokens again (docs/protocol.md, 7), but a copy of the database must not reveal them. So a
    token is not stored: it is computed from the share's row, which has a random id, and a key.
    """

    def __init__(self, jwt_secret: str, accepted: str | None = None) -> None:
        """Tokens that are signed with `accepted` are valid, too: see `web.auth.tokens`."""
        self._keys = [
            hmac.digest(each.encode(), b"netstacks share token", "sha256")
            for each in (jwt_secret, accepted)
            if each is not None
        ]

    def issue(self, share: Share) -> str:
        """The token of a share, always the same: 72 characters that need no escaping in a URL."""
        facts = _LAYOUT.pack(
            share.id.bytes,
            share.session_id.bytes,
            min(int(share.expires_at.timestamp()), 2**32 - 1),
            share.max_viewers,
            share.permission == "read-write",
        )
        return base64.urlsafe_b64encode(facts + _mac(self._keys[0], facts)).decode()

    def read(self, token: str) -> Invitation | None:
        """The content of a valid token, which may have expired; None for anything else."""
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        facts, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if len(facts) < _LAYOUT.size or not any(hmac.compare_digest(mac, _mac(key, facts)) for key in self._keys):
            return None
        share_id, session_id, expires_at, max_viewers, may_type = _LAYOUT.unpack(facts)
        permission: Permission = "read-write" if may_type else "read-only"
        return Invitation(UUID(bytes=share_id), UUID(bytes=session_id), permission, max_viewers, expires_at)


def _mac(key: bytes, facts: bytes) -> bytes:
    return hmac.digest(key, facts, "sha256")[:_MAC_BYTES]
