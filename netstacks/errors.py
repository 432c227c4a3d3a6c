"""Every error that crosses a room's door. Library errors stop at the adapter that raised them."""


class NetstacksError(Exception):
    """Base of all our errors; its text is meant for the person who reads it."""


class InvalidInput(NetstacksError):
    """A value the caller sent is wrong; the text says what would be right."""


class NotFound(NetstacksError):
    """No such thing, or not for this user."""


class Conflict(NetstacksError):
    """The thing exists already, is still in use, or has changed meanwhile."""


class LimitReached(Conflict):
    """A user or a device has as much as it may have; the text says how much, and what to do."""


class Forbidden(NetstacksError):
    """The user is known and may not do this."""


class AccessWithdrawn(Forbidden):
    """The user was deactivated or deleted, has lost the role, or the log-in was revoked."""


class StoreUnavailable(NetstacksError):
    """PostgreSQL did not answer in time; nothing was changed by this call as far as the caller may assume."""


class StoreDenied(StoreUnavailable):
    """PostgreSQL denies its role a right. A person has to grant it."""


class StoreBusy(StoreUnavailable):
    """PostgreSQL answers, but this call got no connection or no lock in time. The caller comes again soon."""


class RegistryUnavailable(NetstacksError):
    """Valkey did not answer in time."""


class RegistryBusy(RegistryUnavailable):
    """Every connection to Valkey is in use, which says nothing about Valkey."""


class SchemaMismatch(NetstacksError):
    """The database's schema is not the one that this program knows."""


class VaultLocked(NetstacksError):
    """The master key is not the one that this database's secrets were encrypted with."""


class DeviceError(NetstacksError):
    """The device could not be reached, refused the log-in, or closed the connection."""


class DeviceUnreachable(DeviceError):
    """No SSH connection within the deadline: refused, timed out, or no common algorithm."""


class DeviceLoginRefused(DeviceError):
    """The device answered and refused the log-in. `refused_secret`: it was the stored secret that it refused."""

    def __init__(self, text: str, *, refused_secret: bool = False) -> None:
        super().__init__(text)
        self.refused_secret = refused_secret


class OpeningAbandoned(DeviceError):
    """The client that wanted the connection has left before it was there."""


class HostKeyRejected(DeviceError):
    """The device's host key is unknown or changed, and nobody approved it."""


class MalformedClaims(NetstacksError):
    """What a peer has signed is not what this version asks for; the text names the first wrong member."""


class SessionGone(NetstacksError):
    """No such session, here or elsewhere."""


class ComeAgain(NetstacksError):
    """Nobody can serve it at this moment, and somebody may in the next."""


class PeerFailed(ComeAgain):
    """The instance that was meant answered, and did not do what it was asked; the text has its own words."""


class ConnectionClosed(NetstacksError):
    """The WebSocket is closing or gone. `code` is what the peer closed it with, None when it did not."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"the peer closed with {code} {reason}".rstrip() if code else "the connection is closed")
        self.code = code
        self.reason = reason
